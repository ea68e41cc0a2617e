"""How Qwen3-VL and its mixture of experts are configured."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from zoo.anatomy import MISSING, Anatomy, RopeConfig, at_least
from zoo.errors import ConfigError

from ..config import TINY, Qwen2VLConfig
from ..vision import DeepVisionConfig

# Six channel pairs, of which each dimension turns another number.
SIZES: dict[str, Any] = {**TINY, "head_dim": 12, "num_layers": 3, "rope_sections": [3, 2, 1]}


@dataclass
class Qwen3VLConfig(Qwen2VLConfig):
    """Qwen3-VL (arXiv:2511.21631): a Qwen3 decoder, with tokens of several of its tower's layers (arXiv:2406.04334)."""

    family: str = "qwen3_vl"
    attention_bias: bool = False  # q, k, v and o have biases
    rope_sections: list[int] = field(default_factory=lambda: [24, 20, 20])  # channel pairs: time, height, width, mixed
    # pyrefly: ignore[bad-override-mutable-attribute]  # a config's fields are set once
    vision: DeepVisionConfig = field(default_factory=DeepVisionConfig)  # the tower that reads images and videos

    has_qk_norm: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.rope_sections) != 3:
            raise ConfigError(f"model.rope_sections={self.rope_sections} are not three: time, height, width")
        pairs = sum(self.rope_sections)
        for first, count in enumerate(self.rope_sections[1:], 1):  # every third pair, from the first or second on
            if first + 3 * (count - 1) >= pairs:
                raise ConfigError(
                    f"model.rope_sections={self.rope_sections}: {count} pairs, every third one, do not fit in {pairs}"
                )
        if (depth := len(self.vision.deep_layers)) > self.num_layers:
            what = f"model.vision.deep_layers has {depth} layers, the decoder {self.num_layers}"
            raise ConfigError(what, hint=f"each goes to a layer of the decoder: model.num_layers={depth} or more")

    @property
    def biases(self) -> tuple[bool, bool]:
        return self.attention_bias, self.attention_bias

    @classmethod
    def tiny(cls) -> Self:
        return cls(**SIZES, rope=RopeConfig(theta=1000.0), vision=_tiny_tower())


@dataclass
class Qwen3VLMoEConfig(Qwen3VLConfig):
    """Qwen3-VL-30B-A3B and Qwen3-VL-235B-A22B (arXiv:2511.21631): experts whose weights sum to 1."""

    family: str = "qwen3_vl_moe"
    num_experts: int = MISSING  # routed experts per layer
    experts_per_token: int = MISSING  # routed experts that each token passes through
    moe_intermediate_size: int = MISSING  # width of a routed expert
    dense_layers: list[int] = field(default_factory=list)  # layers with a plain MLP of intermediate_size instead

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, experts_per_token=self.experts_per_token, moe_intermediate_size=self.moe_intermediate_size)
        if self.experts_per_token > self.num_experts:
            raise ConfigError(
                f"model.experts_per_token={self.experts_per_token} exceeds model.num_experts={self.num_experts}"
            )
        if self.dense_layers != sorted(set(self.dense_layers) & set(range(self.num_layers))):
            raise ConfigError(
                f"model.dense_layers={self.dense_layers} must be layer numbers in order, below model.num_layers"
            )

    def describe_mlp(self, a: Anatomy) -> str:
        with a.under("layers.{i}", self.dense_layers):
            a.gated_mlp(self.hidden_size, self.intermediate_size)
        with a.under("layers.{i}", [i for i in range(self.num_layers) if i not in self.dense_layers]):
            a.moe(self.hidden_size, self.moe_intermediate_size, self.num_experts, self.experts_per_token)
        plain = f", SwiGLU {self.intermediate_size} in {len(self.dense_layers)} layers" if self.dense_layers else ""
        return f"SwiGLU MoE {self.num_experts} × {self.moe_intermediate_size}, top {self.experts_per_token}{plain}"

    @classmethod
    def tiny(cls) -> Self:
        return cls(
            **SIZES, rope=RopeConfig(theta=1000.0), vision=_tiny_tower(), num_experts=5, experts_per_token=2,
            moe_intermediate_size=22, dense_layers=[1],
        )  # fmt: skip


def _tiny_tower() -> DeepVisionConfig:
    return DeepVisionConfig(
        hidden_size=16, intermediate_size=36, num_layers=3, num_heads=2, patch_size=4, num_positions=9,
        deep_layers=[0, 2],
    )  # fmt: skip
