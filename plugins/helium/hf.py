"""Helium as Hugging Face stores it: LLaMA's names, so that only `model_type` tells it from one."""

from __future__ import annotations

from typing import Any

from zoo.weights import Dialect, ForeignConfig, Table, key, must_be
from zoo.weights.hf_layout import LAYER, decoder_keys, decoder_table, write_decoder

from .config import HeliumConfig

KEYS = (
    *decoder_keys(num_kv_heads=20, head_dim=128, max_seq_len=4096, norm_eps=1e-8),
    key("attention_bias", default=False),
    key("mlp_bias", default=False),
)


def from_config(hf: ForeignConfig) -> HeliumConfig:
    hf.of_class("HeliumForCausalLM")
    hf.expect(hidden_act="silu")
    hf.ignore("attention_dropout")
    return HeliumConfig(**hf.read(HeliumConfig, KEYS), **hf.tokens(), rope=hf.rope(theta=100_000.0))


def to_config(c: HeliumConfig) -> dict[str, Any]:
    must_be(c, "a Helium config.json", hidden_size=c.num_heads * c.head_dim)  # its o is square
    return write_decoder(c, "helium", "HeliumForCausalLM", KEYS, hidden_act="silu")


def mapping(c: HeliumConfig) -> Table:
    return decoder_table(c, *LAYER)


HELIUM = Dialect(from_config=from_config, to_config=to_config, mapping=mapping)
