"""LLaMA as llama.cpp stores it. Rotary channels pair (0, 1), (2, 3), ..."""

from __future__ import annotations

from typing import Any

from zoo.weights import Dialect, ForeignConfig, Table, rope_halves, rule
from zoo.weights.gguf.layout import by_architecture, decoder_table, read_decoder, write_decoder

from .config import LlamaConfig


def from_config(hf: ForeignConfig) -> LlamaConfig:
    return LlamaConfig(
        **read_decoder(hf, "llama", LlamaConfig, tensor_data_layout="Meta AI original pth"),
        attention_bias="blk.0.attn_q.bias" in hf.tensors,
        mlp_bias="blk.0.ffn_up.bias" in hf.tensors,
    )


def to_config(c: LlamaConfig) -> dict[str, Any]:
    return write_decoder(c, "llama", has_divisors=True)


def mapping(c: LlamaConfig) -> Table:
    return decoder_table(
        c,
        rule("attn.q_proj", "attn_q", rope_halves(c.num_heads, c.head_dim)),
        rule("attn.k_proj", "attn_k", rope_halves(c.num_kv_heads, c.head_dim)),
    )


LLAMA = Dialect(
    from_config=from_config,
    to_config=to_config,
    mapping=mapping,
    matches=by_architecture("llama", has_experts=False),
)
