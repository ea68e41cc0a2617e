"""Falcon as llama.cpp stores it: queries, keys and values in one matrix; of two norms the MLP's is called the first.

It computes attention and MLP side by side only, and none of RefinedWeb's penalties on distance.
"""

from __future__ import annotations

from typing import Any

from zoo.weights import Dialect, ForeignConfig, Table, must_be, rename, rule, split
from zoo.weights.gguf.layout import (
    LAYER_NORM,
    WHERE,
    by_architecture,
    decoder_table,
    read_decoder,
    refuse_wide,
    write_decoder,
)

from .config import FalconConfig

ARCH = "falcon"
LAYOUT = {"tensor_data_layout": "jploski"}


def from_config(hf: ForeignConfig) -> FalconConfig:
    values = read_decoder(hf, ARCH, FalconConfig, eps=LAYER_NORM, **LAYOUT)
    return FalconConfig(**values, has_mlp_norm="blk.0.attn_norm_2.weight" in hf.tensors)


def to_config(c: FalconConfig) -> dict[str, Any]:
    must_be(c, f"{WHERE} of {ARCH}", is_parallel=True, has_alibi=False, has_bias=False)
    refuse_wide(c, ARCH)
    return write_decoder(c, ARCH, eps=LAYER_NORM, **LAYOUT)


def mapping(c: FalconConfig) -> Table:
    q, kv = c.num_heads * c.head_dim, c.num_kv_heads * c.head_dim
    twin = (rename("mlp_norm", "attn_norm"), rename("attn_norm", "attn_norm_2"))
    norms = twin if c.has_mlp_norm else [rename("norm", "attn_norm")]
    return decoder_table(c, rule(tuple(f"attn.{x}_proj" for x in "qkv"), "attn_qkv", split(q, kv, kv)), norms=norms)


FALCON = Dialect(from_config=from_config, to_config=to_config, mapping=mapping, matches=by_architecture(ARCH))
