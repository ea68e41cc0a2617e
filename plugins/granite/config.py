"""How a Granite is configured, with experts or without, and what it is made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Self

from zoo.anatomy import MISSING, Anatomy, DecoderConfig, RopeConfig, describe_trunk, expert_groups, rope_in_words

TINY = {
    "vocab_size": 61, "hidden_size": 24, "intermediate_size": 20, "num_layers": 2, "num_heads": 6, "num_kv_heads": 2,
    "head_dim": 10, "max_seq_len": 64, "norm_eps": 3e-5, "rope": RopeConfig(theta=1000.0), "embedding_multiplier": 3.0,
    "attention_multiplier": 0.4, "residual_multiplier": 0.6, "logits_scaling": 1.7,
}  # fmt: skip


@dataclass
class ScaledConfig(DecoderConfig, ABC):
    """What both kinds of Granite 3 have: the factors of maximal update parametrisation (arXiv:2203.03466)."""

    attention_bias: bool = False  # q, k, v and o have biases
    embedding_multiplier: float = 1.0  # factor on the embeddings
    attention_multiplier: float = 1.0  # factor on the scores, in place of 1 / sqrt(head_dim)
    residual_multiplier: float = 1.0  # factor on what each branch adds
    logits_scaling: float = 1.0  # divisor of the logits

    def anatomy(self) -> Anatomy:
        with describe_trunk(self, self.heads, position=rope_in_words(self.rope), bias=self.attention_bias) as a:
            a.traits["mlp"] = self.describe_mlp(a)
        return a

    @abstractmethod
    def describe_mlp(self, a: Anatomy) -> str:
        """Add the weights of a layer's MLP; returns it in words."""


@dataclass
class GraniteConfig(ScaledConfig):
    """Granite 3 (IBM, 2024)."""

    family: str = "granite"
    mlp_bias: bool = False  # gate, up and down have biases

    def describe_mlp(self, a: Anatomy) -> str:
        a.gated_mlp(self.hidden_size, self.intermediate_size, bias=self.mlp_bias)
        return f"SwiGLU {self.intermediate_size}"

    @classmethod
    def tiny(cls) -> Self:
        return cls(**TINY)


@dataclass
class GraniteMoEConfig(ScaledConfig):
    """Granite 3's mixtures of experts, 1B-A400M and 3B-A800M (IBM, 2024)."""

    family: str = "granitemoe"
    num_experts: int = MISSING  # experts per layer
    experts_per_token: int = MISSING  # experts that each token passes through

    def __post_init__(self) -> None:
        super().__post_init__()
        expert_groups(self.num_experts, self.experts_per_token, 1, 1, ranked_by_two=False)

    def describe_mlp(self, a: Anatomy) -> str:
        a.moe(self.hidden_size, self.intermediate_size, self.num_experts, self.experts_per_token)
        return f"SwiGLU MoE {self.num_experts} × {self.intermediate_size}, top {self.experts_per_token}"

    @classmethod
    def tiny(cls) -> Self:
        return cls(**TINY, num_experts=5, experts_per_token=2)
