"""Mistral and Ministral as Hugging Face stores them."""

from __future__ import annotations

from typing import Any

from zoo.errors import CheckpointError
from zoo.weights import (
    Dialect,
    ForeignConfig,
    Table,
    key,
    read_sliding_layers,
    write_keys,
    write_layer_types,
    write_rope,
    write_tokens,
)
from zoo.weights.hf_layout import LAYER, decoder_keys, decoder_table

from .config import MistralConfig

KEYS = (*decoder_keys(max_seq_len=131_072), key("sliding_window", default=4096))


def from_config(hf: ForeignConfig) -> MistralConfig:
    hf.of_class("MistralForCausalLM", "MinistralForCausalLM")
    hf.expect(hidden_act="silu")
    hf.require(attention_bias=False)
    hf.ignore("attention_dropout")
    values = hf.read(MistralConfig, KEYS)
    layers = read_sliding_layers(hf, values["num_layers"], None)
    if layers and values["sliding_window"] is None:
        raise CheckpointError(hf.file, "layer_types", "it names sliding layers, but there is no sliding_window")
    return MistralConfig(**values, **hf.tokens(), rope=hf.rope(), sliding_layers=layers)


def to_config(c: MistralConfig) -> dict[str, Any]:
    out = {
        "architectures": ["MistralForCausalLM"],
        "model_type": "mistral",
        "hidden_act": "silu",
        **write_keys(c, KEYS),
        **write_tokens(c),
        "rope_parameters": write_rope(c.rope),
    }
    if c.sliding_layers is not None:
        out |= {
            "architectures": ["MinistralForCausalLM"],
            "model_type": "ministral",
            "layer_types": write_layer_types(c.num_layers, c.sliding_layers),
        }
    return out


def mapping(c: MistralConfig) -> Table:
    return decoder_table(c, *LAYER)


MISTRAL = Dialect(from_config=from_config, to_config=to_config, mapping=mapping)
