"""How GLM-4 and GLM-4.5 are configured, and what they are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from zoo.anatomy import (
    MISSING,
    Anatomy,
    DecoderConfig,
    RopeConfig,
    at_least,
    describe_trunk,
    described_mtp,
    expert_groups,
    rope_in_words,
    rotary_pairs,
)

TINY = {
    "vocab_size": 61, "hidden_size": 26, "intermediate_size": 40, "num_heads": 6, "num_kv_heads": 2, "head_dim": 12,
    "max_seq_len": 64, "norm_eps": 3e-5,
}  # fmt: skip


@dataclass
class GLMConfig(DecoderConfig):
    """GLM-4-9B (arXiv:2406.12793) and the GLM-4-0414 models."""

    family: str = "glm"
    attention_bias: bool = True  # q, k and v have biases; o never has
    is_sandwiched: bool = False  # each branch has a second norm behind it (GLM-4-0414)

    def __post_init__(self) -> None:
        super().__post_init__()
        rotary_pairs(self.rope.partial, self.head_dim)

    def anatomy(self) -> Anatomy:
        with describe_trunk(
            self, self.heads, position=rope_in_words(self.rope), bias=self.attention_bias, out_bias=False,
            is_sandwiched=self.is_sandwiched,
        ) as a:  # fmt: skip
            a.gated_mlp(self.hidden_size, self.intermediate_size)
        a.traits["mlp"] = f"SwiGLU {self.intermediate_size}"
        return a

    @classmethod
    def tiny(cls) -> Self:
        return cls(**TINY, num_layers=2, is_sandwiched=True, rope=RopeConfig(theta=1000.0, partial=0.5))


@dataclass
class GLM4MoEConfig(DecoderConfig):
    """GLM-4.5 and GLM-4.5-Air (arXiv:2508.06471)."""

    family: str = "glm4_moe"
    attention_bias: bool = False  # q, k and v have biases; o never has
    has_qk_norm: bool = False  # queries and keys are normed head by head
    num_dense_layers: int = 1  # first layers, which have an MLP of intermediate_size in place of experts
    num_experts: int = MISSING  # experts per layer that a token may be sent to
    experts_per_token: int = MISSING  # experts that each token is sent to
    moe_intermediate_size: int = MISSING  # width of one expert
    num_shared_experts: int = 1  # experts that every token passes through, kept as one of their joint width
    num_groups: int = 1  # groups that the experts are divided into
    groups_per_token: int = 1  # groups that a token's experts come from
    is_renormalised: bool = True  # the weights of a token's experts are made to sum to 1, before routed_scale
    routed_scale: float = 1.0  # factor on the weights of the chosen experts
    num_mtp_layers: int = 0  # multi-token prediction modules to load; released models have 1

    def __post_init__(self) -> None:
        super().__post_init__()
        rotary_pairs(self.rope.partial, self.head_dim)
        at_least(0, num_dense_layers=self.num_dense_layers, num_shared_experts=self.num_shared_experts)
        at_least(0, num_mtp_layers=self.num_mtp_layers)
        at_least(1, moe_intermediate_size=self.moe_intermediate_size)
        expert_groups(
            self.num_experts, self.experts_per_token, self.num_groups, self.groups_per_token, ranked_by_two=True
        )  # fmt: skip

    @property
    def shared_size(self) -> int | None:
        """Width of the shared expert; None where there is none."""
        return self.num_shared_experts * self.moe_intermediate_size or None

    def anatomy(self) -> Anatomy:
        with describe_trunk(
            self, self.heads, position=rope_in_words(self.rope), bias=self.attention_bias, out_bias=False,
            qk_norm=self.has_qk_norm,
        ) as a:  # fmt: skip
            pass
        with a.under("layers.{i}", range(min(self.num_dense_layers, self.num_layers))):
            a.gated_mlp(self.hidden_size, self.intermediate_size)
        with a.under("layers.{i}", range(self.num_dense_layers, self.num_layers)):
            self._describe_experts(a)
        for k in range(self.num_mtp_layers):
            with described_mtp(a, k, self.vocab_size, self.hidden_size):
                a.norm("attn_norm", self.hidden_size)
                a.attn(
                    self.hidden_size, *self.heads, bias=self.attention_bias, out_bias=False, qk_norm=self.has_qk_norm
                )
                a.norm("mlp_norm", self.hidden_size)
                self._describe_experts(a)
        shared = f"+{self.num_shared_experts}" if self.num_shared_experts else ""
        a.traits["attention"] += ", q and k normed" if self.has_qk_norm else ""
        a.traits["mlp"] = f"SwiGLU MoE {self.num_experts}{shared}, top {self.experts_per_token}"
        return a

    def _describe_experts(self, a: Anatomy) -> None:
        a.moe(
            self.hidden_size, self.moe_intermediate_size, self.num_experts, self.experts_per_token,
            shared_size=self.shared_size, has_router_bias=True,
        )  # fmt: skip

    @classmethod
    def tiny(cls) -> Self:
        return cls(
            **TINY, num_layers=3, rope=RopeConfig(theta=1000.0, partial=0.5), has_qk_norm=True, num_experts=6,
            experts_per_token=3, moe_intermediate_size=18, num_shared_experts=2, num_groups=3, groups_per_token=2,
            routed_scale=2.5,
        )  # fmt: skip
