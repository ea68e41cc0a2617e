"""LLaMA as llama.cpp stores it, which zoo reads and does not write. Rotary channels pair (0, 1), (2, 3), ..."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zoo.registry.family import Match
from zoo.weights import ForeignConfig, Table, rope_halves, rule
from zoo.weights.gguf_layout import decoder_table, read_decoder, read_only

from .config import LlamaConfig

FILES = None  # read, not written
to_config = read_only


def matches(raw: Mapping[str, Any]) -> Match | None:
    kind = raw.get("general.architecture")
    return Match(1.0, ("general.architecture is 'llama'",)) if kind == "llama" else None


def from_config(hf: ForeignConfig) -> LlamaConfig:
    return LlamaConfig(
        **read_decoder(hf, "llama", LlamaConfig, tensor_data_layout="Meta AI original pth"),
        attention_bias="blk.0.attn_q.bias" in hf.tensors,
        mlp_bias="blk.0.ffn_up.bias" in hf.tensors,
    )


def mapping(c: LlamaConfig) -> Table:
    return decoder_table(
        c,
        rule("attn.q_proj", "attn_q", rope_halves(c.num_heads, c.head_dim)),
        rule("attn.k_proj", "attn_k", rope_halves(c.num_kv_heads, c.head_dim)),
    )
