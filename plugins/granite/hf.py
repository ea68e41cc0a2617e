"""Granite as Hugging Face stores it: LLaMA's names, and four factors without which it would be a LLaMA."""

from __future__ import annotations

from typing import Any

from zoo.weights import Dialect, ForeignConfig, Table, key
from zoo.weights.hf_layout import DECODER_KEYS, LAYER, decoder_table, write_decoder

from .config import GraniteConfig

FACTORS = tuple(
    key(name, default=1.0)
    for name in ("embedding_multiplier", "attention_multiplier", "residual_multiplier", "logits_scaling")
)
KEYS = (*DECODER_KEYS, *FACTORS, key("attention_bias", default=False), key("mlp_bias", default=False))


def from_config(hf: ForeignConfig) -> GraniteConfig:
    hf.of_class("GraniteForCausalLM")
    hf.expect(hidden_act="silu")
    hf.ignore("attention_dropout")
    return GraniteConfig(**hf.read(GraniteConfig, KEYS), **hf.tokens(), rope=hf.rope())


def to_config(c: GraniteConfig) -> dict[str, Any]:
    return write_decoder(c, "granite", "GraniteForCausalLM", KEYS, hidden_act="silu")


def mapping(c: GraniteConfig) -> Table:
    return decoder_table(c, *LAYER)


GRANITE = Dialect(from_config=from_config, to_config=to_config, mapping=mapping)
