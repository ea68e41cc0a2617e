"""MiniCPM as its makers store it: LLaMA's names, and three factors without which it would be a LLaMA."""

from __future__ import annotations

from typing import Any

from zoo.weights import Dialect, ForeignConfig, Table, key, must_be
from zoo.weights.hf_layout import LAYER, decoder_keys, decoder_table, head_dim_of, write_decoder

from .config import MiniCPMConfig

FACTORS = (key("embedding_multiplier", "scale_emb"), key("scale_depth"), key("base_size", "dim_model_base"))
KEYS = (*(k for k in decoder_keys(tie_embeddings=True) if k.ours != "head_dim"), *FACTORS)


def from_config(hf: ForeignConfig) -> MiniCPMConfig:
    hf.of_class("MiniCPMForCausalLM", code=("minicpm",))
    hf.expect(hidden_act="silu")
    hf.require(attention_bias=False)
    hf.ignore("attention_dropout", "pretraining_tp")
    values = hf.read(MiniCPMConfig, KEYS) | hf.tokens()
    return MiniCPMConfig(**values, head_dim=head_dim_of(hf, values), rope=hf.rope())


def to_config(c: MiniCPMConfig) -> dict[str, Any]:
    must_be(c, "a MiniCPM config.json", hidden_size=c.num_heads * c.head_dim)
    return write_decoder(c, "minicpm", "MiniCPMForCausalLM", KEYS, hidden_act="silu")


def mapping(c: MiniCPMConfig) -> Table:
    return decoder_table(c, *LAYER)


MINICPM = Dialect(from_config=from_config, to_config=to_config, mapping=mapping)
