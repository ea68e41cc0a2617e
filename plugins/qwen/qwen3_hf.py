"""Qwen3 as Hugging Face stores it: Qwen2's files with other keys, and a family of its own."""

from __future__ import annotations

from zoo.weights import key

from .config import Qwen3Config
from .hf import KEYS, Dense

dialect = Dense(
    Qwen3Config, "qwen3", "Qwen3ForCausalLM",
    (*KEYS, key("head_dim", default=128), key("attention_bias", default=False)),
)  # fmt: skip
from_config, to_config, mapping = dialect.from_config, dialect.to_config, dialect.mapping
