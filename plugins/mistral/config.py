"""How Mistral and Mixtral are configured, and what they are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from zoo.anatomy import MISSING, Anatomy, RopeConfig, WindowedConfig, at_least, describe_trunk, rope_in_words
from zoo.errors import ConfigError

TINY = {
    "vocab_size": 61, "hidden_size": 24, "intermediate_size": 20, "num_layers": 2, "num_heads": 6, "num_kv_heads": 2,
    "head_dim": 10, "max_seq_len": 64, "norm_eps": 3e-5,
}  # fmt: skip


@dataclass
class MistralConfig(WindowedConfig):
    """Mistral 7B (arXiv:2310.06825), Nemo and Ministral."""

    family: str = "mistral"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sliding_layers and self.sliding_window is None:
            raise ConfigError("model.sliding_layers needs model.sliding_window")
        if self.sliding_layers == [*range(self.num_layers)] or self.sliding_window is None:
            self.sliding_layers = None

    def anatomy(self) -> Anatomy:
        position = rope_in_words(self.rope)
        with describe_trunk(self, self.heads, position=position, window_of=self.window_of) as a:
            a.traits["attention"] += self.window_in_words()
            a.traits["mlp"] = self.describe_mlp(a)
        return a

    def describe_mlp(self, a: Anatomy) -> str:
        """Add the weights of a layer's MLP; returns it in words."""
        a.gated_mlp(self.hidden_size, self.intermediate_size)
        return f"SwiGLU {self.intermediate_size}"

    @classmethod
    def tiny(cls) -> Self:
        return cls(**TINY, sliding_window=5, rope=RopeConfig(theta=1000.0))


@dataclass
class MixtralConfig(MistralConfig):
    """Mixtral 8x7B and 8x22B (arXiv:2401.04088)."""

    family: str = "mixtral"
    num_experts: int = MISSING  # experts per layer
    experts_per_token: int = MISSING  # experts that each token passes through

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, experts_per_token=self.experts_per_token)
        if self.experts_per_token > self.num_experts:
            raise ConfigError(
                f"model.experts_per_token={self.experts_per_token} exceeds model.num_experts={self.num_experts}"
            )

    def describe_mlp(self, a: Anatomy) -> str:
        a.moe(self.hidden_size, self.intermediate_size, self.num_experts, self.experts_per_token)
        return f"SwiGLU MoE {self.num_experts} × {self.intermediate_size}, top {self.experts_per_token}"

    @classmethod
    def tiny(cls) -> Self:
        return cls(**TINY, rope=RopeConfig(theta=1000.0), num_experts=5, experts_per_token=2)
