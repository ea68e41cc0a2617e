"""Granite as llama.cpp stores it, with experts or without. Rotary channels pair (0, 1), (2, 3), ..."""

from __future__ import annotations

from typing import Any

from zoo.weights import Dialect, Entry, ForeignConfig, Key, Table, key, rope_halves, rule
from zoo.weights.gguf.experts import EXPERTS, expert_keys
from zoo.weights.gguf.layout import by_architecture, decoder_table, read_decoder, write_decoder

from .config import GraniteConfig, GraniteMoEConfig, ScaledConfig

FACTORS = {
    "embedding_multiplier": "embedding_scale", "attention_multiplier": "attention.scale",
    "residual_multiplier": "residual_scale", "logits_scaling": "logit_scale",
}  # fmt: skip


def keys(arch: str) -> list[Key]:
    """Where the factors stand."""
    return [key(ours, f"{arch}.{theirs}") for ours, theirs in FACTORS.items()]


def from_config(hf: ForeignConfig) -> GraniteConfig:
    values = read_decoder(hf, "granite", GraniteConfig, *keys("granite"), tensor_data_layout="Meta AI original pth")
    biases = {"attention_bias": "blk.0.attn_q.bias" in hf.tensors, "mlp_bias": "blk.0.ffn_up.bias" in hf.tensors}
    return GraniteConfig(**exact(values), **biases)


def to_config(c: GraniteConfig) -> dict[str, Any]:
    return write_decoder(c, "granite", *keys("granite"), has_divisors=True)


def from_moe(hf: ForeignConfig) -> GraniteMoEConfig:
    more = (*keys("granitemoe"), *expert_keys("granitemoe"))
    values = read_decoder(hf, "granitemoe", GraniteMoEConfig, *more, tensor_data_layout="Meta AI original pth")
    return GraniteMoEConfig(**exact(values), attention_bias="blk.0.attn_q.bias" in hf.tensors)


def to_moe(c: GraniteMoEConfig) -> dict[str, Any]:
    return write_decoder(c, "granitemoe", *keys("granitemoe"), *expert_keys("granitemoe"), has_divisors=True)


def exact(values: dict[str, Any]) -> dict[str, Any]:
    """With the decimals that factors in float32 were meant to be."""
    return values | {name: float(f"{values[name]:.7g}") for name in FACTORS}


def mapping(c: ScaledConfig) -> Table:
    return decoder_table(c, *heads(c))


def moe_mapping(c: GraniteMoEConfig) -> Table:
    return decoder_table(c, *heads(c), *EXPERTS)


def heads(c: ScaledConfig) -> list[Entry]:
    """Queries and keys, whose rotary channels pair (0, 1), (2, 3), ..."""
    return [
        rule("attn.q_proj", "attn_q", rope_halves(c.num_heads, c.head_dim)),
        rule("attn.k_proj", "attn_k", rope_halves(c.num_kv_heads, c.head_dim)),
    ]


GRANITE = Dialect(from_config=from_config, to_config=to_config, mapping=mapping, matches=by_architecture("granite"))
GRANITE_MOE = Dialect(
    from_config=from_moe, to_config=to_moe, mapping=moe_mapping, matches=by_architecture("granitemoe")
)
