"""Phi-3 as llama.cpp stores it: q, k and v in one matrix, gate and up in another, the gate first.

It writes the window into its files and computes none, so that zoo reads one and writes none that the context exceeds.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from zoo.weights import Dialect, ForeignConfig, Table, key, rule, split
from zoo.weights.gguf.layout import (
    by_architecture,
    decoder_table,
    read_decoder,
    refuse_wide,
    refuse_window,
    write_decoder,
)
from zoo.weights.gguf.longrope import longrope_entries, longrope_known, read_longrope, write_longrope

from .config import Phi3Config

WINDOW = key("sliding_window", "phi3.attention.sliding_window", default=None)


def from_config(hf: ForeignConfig) -> Phi3Config:
    values = read_decoder(hf, "phi3", Phi3Config, WINDOW, has_partial=True, **longrope_known(hf, "phi3"))
    rope, length = values["rope"], values["max_seq_len"]
    pairs = int(values["head_dim"] * rope.partial) // 2
    values["rope"] = read_longrope(hf, "phi3", rope, pairs, length)
    return Phi3Config(**values | {"sliding_window": values["sliding_window"] or None})


def to_config(c: Phi3Config) -> dict[str, Any]:
    refuse_wide(c, "phi3")
    refuse_window(c, "Phi-3")
    rope, keys = write_longrope(c.rope, "phi3", c.max_seq_len)
    out = write_decoder(replace(c, rope=rope), "phi3", WINDOW, has_partial=True)
    return out | keys | {WINDOW.theirs: c.sliding_window or 0}


def mapping(c: Phi3Config) -> Table:
    q, kv, width = c.num_heads * c.head_dim, c.num_kv_heads * c.head_dim, c.intermediate_size
    table = decoder_table(
        c,
        rule(("attn.q_proj", "attn.k_proj", "attn.v_proj"), "attn_qkv", split(q, kv, kv)),
        rule(("mlp.gate_proj", "mlp.up_proj"), "ffn_up", split(width, width)),
    )
    return Table(table.rules, table.ignored, longrope_entries(c.rope))


PHI3 = Dialect(from_config=from_config, to_config=to_config, mapping=mapping, matches=by_architecture("phi3"))
