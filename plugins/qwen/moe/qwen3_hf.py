"""Qwen3's mixtures of experts as Hugging Face stores them."""

from __future__ import annotations

from zoo.weights import key

from ..hf import HEAD_DIM
from .config import Qwen3MoEConfig
from .hf import EXPERT_KEYS, Sparse

dialect = Sparse(
    Qwen3MoEConfig, "qwen3_moe", "Qwen3MoeForCausalLM",
    (*EXPERT_KEYS, HEAD_DIM, key("attention_bias", default=False)),
    {"shared_expert_intermediate_size": 0, "qkv_bias": False, "use_qk_norm": True},
)  # fmt: skip
from_config, to_config, mapping = dialect.from_config, dialect.to_config, dialect.mapping
