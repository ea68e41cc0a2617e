"""MiniCPM 3 as llama.cpp stores it: its factors in llama.cpp's code, the up-projection of the latent whole."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from zoo.weights import Dialect, ForeignConfig, Table, key, must_be, rename, write_keys
from zoo.weights.gguf.layout import (
    WHERE,
    by_architecture,
    decoder_keys,
    decoder_table,
    fixed,
    norm_eps,
    read_rest,
    read_size,
    write_rest,
)
from zoo.weights.gguf.longrope import longrope_entries, longrope_known, read_longrope, write_longrope
from zoo.weights.gguf.rope import read_rope, write_rope

from .config import MiniCPM3Config

ARCH = "minicpm3"
ATTENTION = f"{ARCH}.attention"
FIXED: dict[str, Any] = {"embedding_multiplier": 12.0, "scale_depth": 1.4, "base_size": 256}
KEYS = (
    *(k for k in decoder_keys(ARCH) if k.ours not in ("num_kv_heads", "head_dim")),
    key("q_lora_rank", f"{ATTENTION}.q_lora_rank"),
    key("kv_lora_rank", f"{ATTENTION}.kv_lora_rank"),
    key("rope_head_dim", f"{ARCH}.rope.dimension_count"),
)
WIDTH, VALUES, HEADS = f"{ATTENTION}.key_length", f"{ATTENTION}.value_length", f"{ATTENTION}.head_count_kv"
NAMES = {
    "q_down": "attn_q_a", "q_norm": "attn_q_a_norm", "q_up": "attn_q_b", "kv_down": "attn_kv_a_mqa",
    "kv_norm": "attn_kv_a_norm", "kv_up": "attn_kv_b",
}  # fmt: skip


def from_config(hf: ForeignConfig) -> MiniCPM3Config:
    c = hf.read(MiniCPM3Config, (*KEYS, key("vocab_size", f"{ARCH}.vocab_size", default=read_size(hf))))
    width = hf.as_type(int, hf[WIDTH], WIDTH)
    values = hf.as_type(int, hf.get(VALUES, c["hidden_size"] // max(c["num_heads"], 1)), VALUES)
    hf.assumed.pop(VALUES, None)  # which the converter never writes
    known = fixed(ARCH) | {HEADS: c["num_heads"]} | longrope_known(hf, ARCH)
    rope = read_rope(hf, ARCH, c["rope_head_dim"], c["max_seq_len"])
    own: dict[str, Any] = {
        "num_kv_heads": c["num_heads"], "head_dim": c["rope_head_dim"], "v_head_dim": values, "norm_eps": norm_eps(c),
        "nope_head_dim": width - c["rope_head_dim"],
        "rope": read_longrope(hf, ARCH, rope, c["rope_head_dim"] // 2, c["max_seq_len"]),
    }  # fmt: skip
    return MiniCPM3Config(**c | FIXED | read_rest(hf, ARCH, **known) | own)


def to_config(c: MiniCPM3Config) -> dict[str, Any]:
    where = f"{WHERE} of {ARCH}"
    must_be(c, where, **FIXED, attention_bias=False, num_kv_heads=c.num_heads, head_dim=c.rope_head_dim)
    must_be(c, where, q_lora_rank=c.q_lora_rank or 768)
    rope, keys = write_longrope(c.rope, ARCH, c.max_seq_len)
    return {
        **write_rest(c, ARCH),
        **write_keys(c, (*KEYS, key("vocab_size", f"{ARCH}.vocab_size"))),
        HEADS: c.num_heads,
        WIDTH: c.nope_head_dim + c.rope_head_dim,
        VALUES: c.v_head_dim,
        **write_rope(rope, ARCH),
        **keys,
    }


def mapping(c: MiniCPM3Config) -> Table:
    rope, _ = write_longrope(c.rope, ARCH, c.max_seq_len)
    table = decoder_table(replace(c, rope=rope), *(rename(f"attn.{ours}", theirs) for ours, theirs in NAMES.items()))
    return Table(table.rules, table.ignored, longrope_entries(c.rope))


MINICPM3 = Dialect(from_config=from_config, to_config=to_config, mapping=mapping, matches=by_architecture(ARCH))
