"""How GLM-4 and GLM-4.5 are configured, and what they are made of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from zoo.anatomy import (
    MISSING,
    Anatomy,
    DecoderConfig,
    RopeConfig,
    at_least,
    heads_in_words,
    multiple_of,
    rope_in_words,
)
from zoo.errors import ConfigError

TINY = {
    "vocab_size": 61, "hidden_size": 26, "intermediate_size": 40, "num_heads": 6, "num_kv_heads": 2, "head_dim": 12,
    "max_seq_len": 64,
}  # fmt: skip


@dataclass
class GLMConfig(DecoderConfig):
    """GLM-4-9B (arXiv:2406.12793) and the GLM-4-0414 models."""

    family: str = "glm"
    attention_bias: bool = True  # q, k and v have biases; o never has
    is_sandwiched: bool = False  # each branch has a second norm behind it (GLM-4-0414)

    def __post_init__(self) -> None:
        super().__post_init__()
        rotary_pairs(self)

    def anatomy(self) -> Anatomy:
        a = Anatomy(max_seq_len=self.max_seq_len)
        with describe_trunk(self, a):
            a.gated_mlp(self.hidden_size, self.intermediate_size)
            if self.is_sandwiched:
                a.norm("attn_post_norm", self.hidden_size)
                a.norm("mlp_post_norm", self.hidden_size)
        a.traits |= {"mlp": f"SwiGLU {self.intermediate_size}"}
        if self.is_sandwiched:
            a.traits |= {
                "norm": "RMSNorm, pre and post",
                "block": "norm → attention → norm → + → norm → MLP → norm → +",
            }
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

    def __post_init__(self) -> None:
        super().__post_init__()
        rotary_pairs(self)
        at_least(0, num_dense_layers=self.num_dense_layers, num_shared_experts=self.num_shared_experts)
        at_least(1, num_experts=self.num_experts, experts_per_token=self.experts_per_token)
        at_least(1, num_groups=self.num_groups, groups_per_token=self.groups_per_token)
        at_least(1, moe_intermediate_size=self.moe_intermediate_size)
        multiple_of("model.num_experts", self.num_experts, "model.num_groups", self.num_groups)
        if self.groups_per_token > self.num_groups:
            raise ConfigError(
                f"model.groups_per_token={self.groups_per_token} exceeds model.num_groups={self.num_groups}"
            )
        size = self.num_experts // self.num_groups
        if self.experts_per_token > self.groups_per_token * size:
            raise ConfigError(
                f"model.experts_per_token={self.experts_per_token} exceeds the {self.groups_per_token * size} experts"
                f" in model.groups_per_token={self.groups_per_token} groups of {size}"
            )
        if self.num_groups > 1 and size < 2:
            raise ConfigError(
                f"model.num_groups={self.num_groups} leaves groups of one expert, which are ranked by their best two"
            )

    @property
    def shared_size(self) -> int | None:
        """Width of the shared expert; None where there is none."""
        return self.num_shared_experts * self.moe_intermediate_size or None

    def anatomy(self) -> Anatomy:
        a = Anatomy(max_seq_len=self.max_seq_len)
        with describe_trunk(self, a, qk_norm=self.has_qk_norm):
            pass
        with a.under("layers.{i}", range(min(self.num_dense_layers, self.num_layers))):
            a.gated_mlp(self.hidden_size, self.intermediate_size)
        with a.under("layers.{i}", range(self.num_dense_layers, self.num_layers)):
            a.moe(
                self.hidden_size, self.moe_intermediate_size, self.num_experts, self.experts_per_token,
                shared_size=self.shared_size, has_router_bias=True,
            )  # fmt: skip
        shared = f"+{self.num_shared_experts}" if self.num_shared_experts else ""
        a.traits["mlp"] = f"SwiGLU MoE {self.num_experts}{shared}, top {self.experts_per_token}"
        return a

    @classmethod
    def tiny(cls) -> Self:
        return cls(
            **TINY, num_layers=3, rope=RopeConfig(theta=1000.0, partial=0.5), has_qk_norm=True, num_experts=6,
            experts_per_token=3, moe_intermediate_size=18, num_shared_experts=2, num_groups=3, groups_per_token=2,
            routed_scale=2.5,
        )  # fmt: skip


def rotary_pairs(c: DecoderConfig) -> None:
    """Raise ConfigError unless the rotary part of a head is whole pairs."""
    rotary = int(c.head_dim * c.rope.partial)
    if rotary < 2 or rotary % 2:
        raise ConfigError(
            f"model.rope.partial={c.rope.partial} of model.head_dim={c.head_dim} is {rotary} channels, not whole pairs"
        )


@contextmanager
def describe_trunk(c: GLMConfig | GLM4MoEConfig, a: Anatomy, *, qk_norm: bool = False) -> Iterator[None]:
    """Everything but what is described inside, per layer."""
    layers = range(c.num_layers)
    a.embedding("embed", c.vocab_size, c.hidden_size)
    with a.under("layers.{i}", layers):
        a.norm("attn_norm", c.hidden_size)
        a.attn(
            c.hidden_size, c.num_heads, c.num_kv_heads, c.head_dim, bias=c.attention_bias, out_bias=False,
            qk_norm=qk_norm,
        )  # fmt: skip
        a.norm("mlp_norm", c.hidden_size)
        yield
    a.attends(layers, c.num_heads, c.num_kv_heads, c.head_dim)
    a.norm("norm", c.hidden_size)
    a.head(c.vocab_size, c.hidden_size, tied=c.tie_embeddings)
    a.traits = {
        "attention": heads_in_words(c.num_heads, c.num_kv_heads) + (", q and k normed" if qk_norm else ""),
        "position": rope_in_words(c.rope),
        "norm": "RMSNorm, pre",
        "block": "norm → attention → + → norm → MLP → +",
    }
