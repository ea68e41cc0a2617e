"""Mistral and Mixtral as llama.cpp stores them: as a LLaMA, with experts or without, and no sliding window.

A file does not say whether a LLaMA without experts is a Mistral. It is read as a LLaMA, which computes the same.
"""

from __future__ import annotations

from typing import Any

from zoo.weights import Dialect, Entry, ForeignConfig, Table, rope_halves, rule
from zoo.weights.gguf.experts import EXPERTS, expert_keys
from zoo.weights.gguf.layout import by_architecture, decoder_table, read_decoder, refuse_window, write_decoder

from .config import MistralConfig, MixtralConfig

LAYOUT = {"tensor_data_layout": "Meta AI original pth"}


def from_config(hf: ForeignConfig) -> MistralConfig:
    return MistralConfig(**read_decoder(hf, "llama", MistralConfig, **LAYOUT))


def to_config(c: MistralConfig) -> dict[str, Any]:
    refuse_window(c, "Mistral")
    return write_decoder(c, "llama", has_divisors=True)


def from_mixtral(hf: ForeignConfig) -> MixtralConfig:
    return MixtralConfig(**read_decoder(hf, "llama", MixtralConfig, *expert_keys("llama"), **LAYOUT))


def to_mixtral(c: MixtralConfig) -> dict[str, Any]:
    refuse_window(c, "Mixtral")
    return write_decoder(c, "llama", *expert_keys("llama"), has_divisors=True)


def mapping(c: MistralConfig) -> Table:
    return decoder_table(c, *heads(c))


def mixtral_mapping(c: MixtralConfig) -> Table:
    return decoder_table(c, *heads(c), *EXPERTS)


def heads(c: MistralConfig) -> list[Entry]:
    """Queries and keys, whose rotary channels pair (0, 1), (2, 3), ..."""
    return [
        rule("attn.q_proj", "attn_q", rope_halves(c.num_heads, c.head_dim)),
        rule("attn.k_proj", "attn_k", rope_halves(c.num_kv_heads, c.head_dim)),
    ]


MISTRAL = Dialect(from_config=from_config, to_config=to_config, mapping=mapping, matches=by_architecture())
MIXTRAL = Dialect(
    from_config=from_mixtral,
    to_config=to_mixtral,
    mapping=mixtral_mapping,
    matches=by_architecture("llama", has_experts=True),
)
