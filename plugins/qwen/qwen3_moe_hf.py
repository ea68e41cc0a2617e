"""Qwen3's mixtures of experts as Hugging Face stores them; what is near them and is none is refused with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zoo.errors import CheckpointError
from zoo.family import Match
from zoo.weights import ForeignConfig, key

from .moe_config import Qwen2MoEConfig, Qwen3MoEConfig
from .moe_hf import EXPERT_KEYS, Sparse

OTHERS = {  # what is near enough to be taken for one of these, and why it is none
    "qwen3_next": "three of four layers are gated delta nets, a recurrence that zoo does not have",
    "qwen3_5": "most layers are gated delta nets, a recurrence that zoo does not have",
    "qwen3_5_moe": "most layers are gated delta nets, a recurrence that zoo does not have",
    "qwen3_vl": "its text layers take in images at several depths; zoo has Qwen3's text decoders only",
    "qwen3_vl_moe": "its text layers take in images at several depths; zoo has Qwen3's text decoders only",
}

dialect = Sparse(
    Qwen3MoEConfig, "qwen3_moe", "Qwen3MoeForCausalLM",
    (*EXPERT_KEYS, key("head_dim", default=128), key("attention_bias", default=False)),
    {"shared_expert_intermediate_size": 0, "qkv_bias": False, "use_qk_norm": True},
)  # fmt: skip
to_config, mapping = dialect.to_config, dialect.mapping


def matches(raw: Mapping[str, Any]) -> Match | None:
    """Qwen3-MoE, and, barely, what `from_config` says why it refuses."""
    kind = str(raw.get("model_type"))
    score = 1.0 if kind == "qwen3_moe" else 0.01
    return Match(score, (f"model_type is {kind!r}",)) if score == 1.0 or kind in OTHERS else None


def from_config(hf: ForeignConfig) -> Qwen2MoEConfig:
    if reason := OTHERS.get(str(hf.raw.get("model_type"))):
        raise CheckpointError(hf.file, "model_type", f"{hf['model_type']!r} is not supported", why=reason)
    return dialect.from_config(hf)
