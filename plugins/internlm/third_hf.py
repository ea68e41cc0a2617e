"""InternLM 3 as Hugging Face stores it: LLaMA's names, `qkv_bias` and `bias` in place of LLaMA's keys."""

from __future__ import annotations

from typing import Any

from zoo.weights import Dialect, ForeignConfig, Table, key
from zoo.weights.hf_layout import LAYER, decoder_keys, decoder_table, write_decoder

from .config import InternLM3Config

KEYS = (
    *decoder_keys(num_kv_heads=2, head_dim=128, max_seq_len=32_768, norm_eps=1e-5),
    key("attention_bias", "qkv_bias", also=("attention_bias",), default=False),
    key("has_bias", "bias", also=("mlp_bias",), default=False),
)


def from_config(hf: ForeignConfig) -> InternLM3Config:
    hf.of_class("InternLM3ForCausalLM", "LlamaForCausalLM", code=("internlm3",))  # the second is transformers 5's
    hf.expect(hidden_act="silu")
    hf.ignore("attention_dropout")
    return InternLM3Config(**hf.read(InternLM3Config, KEYS), **hf.tokens(), rope=hf.rope())


def to_config(c: InternLM3Config) -> dict[str, Any]:
    return write_decoder(c, "internlm3", "InternLM3ForCausalLM", KEYS, hidden_act="silu")


def mapping(c: InternLM3Config) -> Table:
    return decoder_table(c, *LAYER)


INTERNLM3 = Dialect(from_config=from_config, to_config=to_config, mapping=mapping)
