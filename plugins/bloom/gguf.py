"""BLOOM as llama.cpp stores it: q, k and v one after the other in one tensor, and not head by head."""

from __future__ import annotations

from typing import Any

from zoo.weights import Dialect, ForeignConfig, Table, key, must_be, rename, rule, split, under, write_keys
from zoo.weights.gguf.layout import WHERE, by_architecture, fixed, norm_eps, read_rest, read_size, write_rest

from .config import BloomConfig

KEYS = (
    key("hidden_size", "bloom.embedding_length"),
    key("num_layers", "bloom.block_count"),
    key("num_heads", "bloom.attention.head_count"),
    key("max_seq_len", "bloom.context_length"),
    key("norm_eps", "bloom.attention.layer_norm_epsilon"),
)


def from_config(hf: ForeignConfig) -> BloomConfig:
    c = hf.read(BloomConfig, (*KEYS, key("vocab_size", "bloom.vocab_size", default=read_size(hf))))
    sizes = {"feed_forward_length": 4 * c["hidden_size"], "attention.head_count_kv": c["num_heads"]}
    known = {f"bloom.{name}": value for name, value in sizes.items()}
    return BloomConfig(**c | read_rest(hf, "bloom", **fixed("bloom"), **known) | {"norm_eps": norm_eps(c)})


def to_config(c: BloomConfig) -> dict[str, Any]:
    must_be(c, WHERE, norm_residual=False)
    sizes = {"feed_forward_length": 4 * c.hidden_size, "attention.head_count_kv": c.num_heads}
    sizes |= {"vocab_size": c.vocab_size}
    return {**write_rest(c, "bloom"), **write_keys(c, KEYS), **{f"bloom.{n}": size for n, size in sizes.items()}}


def mapping(c: BloomConfig) -> Table:
    d = c.hidden_size
    return Table(
        rename("embed", "token_embd"),
        rename("embed_norm", "token_embd_norm"),
        under(
            "layers.{i}", "blk.{i}",
            rename("attn_norm", "attn_norm"),
            rule(("attn.q_proj", "attn.k_proj", "attn.v_proj"), "attn_qkv", split(d, d, d)),
            rename("attn.o_proj", "attn_output"),
            rename("mlp_norm", "ffn_norm"),
            rename("mlp.up_proj", "ffn_up"),
            rename("mlp.down_proj", "ffn_down"),
        ),
        rename("norm", "output_norm"),
        [] if c.tie_embeddings else rename("lm_head", "output"),
    )  # fmt: skip


BLOOM = Dialect(from_config=from_config, to_config=to_config, mapping=mapping, matches=by_architecture("bloom"))
