"""ERNIE 4.5 as Hugging Face stores it: LLaMA's names, so that only `model_type` tells it from one."""

from __future__ import annotations

from typing import Any

from zoo.weights import Dialect, ForeignConfig, Table, key
from zoo.weights.hf_layout import LAYER, decoder_keys, decoder_table, write_decoder

from .config import Ernie45Config

SIZES = {"num_kv_heads": 2, "head_dim": 128, "max_seq_len": 131_072, "norm_eps": 1e-5}
KEYS = (*decoder_keys(**SIZES, tie_embeddings=True), key("has_bias", "use_bias", default=False))


def from_config(hf: ForeignConfig) -> Ernie45Config:
    hf.of_class("Ernie4_5ForCausalLM")
    hf.expect(hidden_act="silu")
    hf.ignore("attention_dropout", "hidden_dropout_prob", "attention_probs_dropout_prob")
    return Ernie45Config(**hf.read(Ernie45Config, KEYS), **hf.tokens(), rope=hf.rope(theta=500_000.0))


def to_config(c: Ernie45Config) -> dict[str, Any]:
    return write_decoder(c, "ernie4_5", "Ernie4_5ForCausalLM", KEYS, hidden_act="silu")


def mapping(c: Ernie45Config) -> Table:
    return decoder_table(c, *LAYER)


ERNIE4_5 = Dialect(from_config=from_config, to_config=to_config, mapping=mapping)
