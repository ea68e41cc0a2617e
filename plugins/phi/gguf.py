"""Phi-3 as llama.cpp stores it: q, k and v in one matrix, gate and up in another, the gate first.

It writes the window into its files and computes none, so that zoo reads one and writes none that the context exceeds.
"""

from __future__ import annotations

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

from .config import Phi3Config

WINDOW = key("sliding_window", "phi3.attention.sliding_window", default=None)


def from_config(hf: ForeignConfig) -> Phi3Config:
    values = read_decoder(hf, "phi3", Phi3Config, WINDOW, has_partial=True)
    return Phi3Config(**values | {"sliding_window": values["sliding_window"] or None})


def to_config(c: Phi3Config) -> dict[str, Any]:
    refuse_wide(c, "phi3")
    refuse_window(c, "Phi-3")
    out = write_decoder(c, "phi3", WINDOW, has_partial=True)
    return out | {WINDOW.theirs: c.sliding_window or 0}


def mapping(c: Phi3Config) -> Table:
    q, kv, width = c.num_heads * c.head_dim, c.num_kv_heads * c.head_dim, c.intermediate_size
    return decoder_table(
        c,
        rule(("attn.q_proj", "attn.k_proj", "attn.v_proj"), "attn_qkv", split(q, kv, kv)),
        rule(("mlp.gate_proj", "mlp.up_proj"), "ffn_up", split(width, width)),
    )


PHI3 = Dialect(from_config=from_config, to_config=to_config, mapping=mapping, matches=by_architecture("phi3"))
