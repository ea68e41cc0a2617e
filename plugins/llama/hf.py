"""LLaMA as Hugging Face stores it, in the spellings of transformers 4 and 5."""

from __future__ import annotations

from typing import Any

from zoo.weights import Dialect, ForeignConfig, Table, key, write_keys, write_rope, write_tokens, younger
from zoo.weights.hf_layout import DECODER_KEYS, LAYER, decoder_table

from .config import LlamaConfig

KEYS = (*DECODER_KEYS, key("attention_bias", default=False), key("mlp_bias", default=False))


def from_config(hf: ForeignConfig) -> LlamaConfig:
    hf.of_class("LlamaForCausalLM", "LLaMAForCausalLM")  # the second is the spelling of early 2023
    hf.expect(hidden_act="silu")
    hf.require(rope_interleaved=False, is_llama_config=True)  # SmolLM's
    hf.ignore("attention_dropout", "pretraining_tp", "max_sequence_length")
    config = LlamaConfig(**hf.read(LlamaConfig, KEYS), **hf.tokens(), rope=hf.rope())
    younger(hf, max_position_embeddings="4.29", rope_parameters="4.33", rope_theta="4.33")  # than the first two LLaMAs
    return config


def to_config(c: LlamaConfig) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        **write_keys(c, KEYS),
        **write_tokens(c),
        "rope_parameters": write_rope(c.rope),
    }


def mapping(c: LlamaConfig) -> Table:
    return decoder_table(c, *LAYER)


LLAMA = Dialect(from_config=from_config, to_config=to_config, mapping=mapping)
