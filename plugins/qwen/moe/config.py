"""How Qwen's mixtures of experts are configured; apart from `config` for its length."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Self

from zoo.anatomy import MISSING, Anatomy, RopeConfig, at_least
from zoo.errors import ConfigError

from ..config import TINY, Qwen2Config, layers_below


@dataclass
class Qwen2MoEConfig(Qwen2Config):
    """Qwen1.5-MoE-A2.7B and Qwen2-57B-A14B (arXiv:2407.10671)."""

    family: str = "qwen2_moe"
    attention_bias: bool = True  # q, k and v have biases
    num_experts: int = MISSING  # routed experts per layer
    experts_per_token: int = MISSING  # routed experts that each token passes through
    moe_intermediate_size: int = MISSING  # width of a routed expert
    shared_intermediate_size: int | None = None  # width of the gated expert of all tokens; None: there is none
    is_renormalised: bool = False  # the weights of a token's experts are made to sum to 1
    dense_layers: list[int] = field(default_factory=list)  # layers with a plain MLP of intermediate_size instead

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, experts_per_token=self.experts_per_token, moe_intermediate_size=self.moe_intermediate_size)
        at_least(1, shared_intermediate_size=self.shared_intermediate_size)
        if self.experts_per_token > self.num_experts:
            raise ConfigError(
                f"model.experts_per_token={self.experts_per_token} exceeds model.num_experts={self.num_experts}"
            )
        layers_below("model.dense_layers", self.dense_layers, self.num_layers)

    @property
    def biases(self) -> tuple[bool, bool]:
        return self.attention_bias, False

    def describe_mlp(self, a: Anatomy) -> str:
        with a.under("layers.{i}", self.dense_layers):
            a.gated_mlp(self.hidden_size, self.intermediate_size)
        with a.under("layers.{i}", [i for i in range(self.num_layers) if i not in self.dense_layers]):
            a.moe(
                self.hidden_size, self.moe_intermediate_size, self.num_experts, self.experts_per_token,
                shared_size=self.shared_intermediate_size, has_shared_gate=self.shared_intermediate_size is not None,
            )  # fmt: skip
        shared = f" + {self.shared_intermediate_size} shared" if self.shared_intermediate_size else ""
        plain = f", SwiGLU {self.intermediate_size} in {len(self.dense_layers)} layers" if self.dense_layers else ""
        return (
            f"SwiGLU MoE {self.num_experts} × {self.moe_intermediate_size}, top {self.experts_per_token}{shared}{plain}"
        )

    @classmethod
    def tiny(cls) -> Self:
        return cls(
            **TINY, rope=RopeConfig(theta=1000.0), num_experts=5, experts_per_token=2, moe_intermediate_size=20,
            shared_intermediate_size=18, dense_layers=[1],
        )  # fmt: skip


@dataclass
class Qwen3MoEConfig(Qwen2MoEConfig):
    """Qwen3-30B-A3B and Qwen3-235B-A22B (arXiv:2505.09388)."""

    family: str = "qwen3_moe"
    attention_bias: bool = False  # q, k, v and o have biases
    is_renormalised: bool = True  # the weights of a token's experts are made to sum to 1

    has_qk_norm: ClassVar[bool] = True

    @property
    def biases(self) -> tuple[bool, bool]:
        return self.attention_bias, self.attention_bias

    @classmethod
    def tiny(cls) -> Self:
        return cls(
            **TINY, rope=RopeConfig(theta=1000.0), num_experts=5, experts_per_token=2, moe_intermediate_size=20,
            dense_layers=[1],
        )  # fmt: skip
