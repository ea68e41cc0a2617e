"""How a gpt-oss is configured, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from zoo.anatomy import MISSING, Anatomy, DecoderConfig, RopeConfig, at_least, describe_trunk, rope_in_words
from zoo.errors import ConfigError


@dataclass
class GptOssConfig(DecoderConfig):
    """gpt-oss-20b and gpt-oss-120b (arXiv:2508.10925)."""

    family: str = "gpt_oss"
    intermediate_size: int = MISSING  # width of an expert
    attention_bias: bool = True  # q, k, v and o have biases
    sliding_window: int | None = 128  # tokens that sliding layers see, their own among them; None: all layers see all
    sliding_layers: list[int] | None = None  # layers with the window; None: every other one, from the first
    num_experts: int = MISSING  # experts per layer
    experts_per_token: int = MISSING  # experts that each token passes through
    swiglu_alpha: float = 1.702  # the gate is multiplied by the sigmoid of this many times itself
    swiglu_limit: float = 7.0  # gates stay below this, and what they let through within ± this

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, sliding_window=self.sliding_window, experts_per_token=self.experts_per_token)
        if self.experts_per_token > self.num_experts:
            raise ConfigError(
                f"model.experts_per_token={self.experts_per_token} exceeds model.num_experts={self.num_experts}"
            )
        for name in ("swiglu_alpha", "swiglu_limit"):
            if not 0 < getattr(self, name) <= 1e4:
                raise ConfigError(f"model.{name}={getattr(self, name)!r} is not above 0 and up to 10000")
        self._settle_layers()

    def _settle_layers(self) -> None:
        """One spelling for each choice of sliding layers."""
        layers = self.sliding_layers
        if layers is not None and layers != sorted(set(layers) & set(range(self.num_layers))):
            limit = f"below model.num_layers={self.num_layers}"
            raise ConfigError(f"model.sliding_layers={layers} must be layer numbers in order, {limit}")
        if layers and self.sliding_window is None:
            raise ConfigError("model.sliding_layers needs model.sliding_window")
        if not layers and layers is not None:
            self.sliding_window = None
        if self.sliding_window is None or layers == list(range(0, self.num_layers, 2)):
            self.sliding_layers = None

    def window_of(self, layer: int) -> int | None:
        """How many tokens a layer sees; None: all."""
        slides = layer % 2 == 0 if self.sliding_layers is None else layer in self.sliding_layers
        return self.sliding_window if slides else None

    def anatomy(self) -> Anatomy:
        experts, share = self.num_experts, self.experts_per_token / self.num_experts
        with describe_trunk(
            self, self.heads, position=rope_in_words(self.rope), bias=self.attention_bias, window_of=self.window_of
        ) as a:
            a.weight("attn.sinks", (self.num_heads,), "attention")
            a.moe(self.hidden_size, self.intermediate_size, experts, self.experts_per_token)
            a.weight("mlp.router.bias", (experts,), "router")
            for name in ("gate_bias", "up_bias"):
                a.weight(f"mlp.experts.{name}", (experts, self.intermediate_size), "experts", used=share)
            a.weight("mlp.experts.down_bias", (experts, self.hidden_size), "experts", used=share)
        sliding = sum(self.window_of(i) is not None for i in range(self.num_layers))
        a.traits["attention"] += ", a sink per head"
        if sliding:
            a.traits["attention"] += f", window {self.sliding_window} in {sliding} of {self.num_layers} layers"
        a.traits["mlp"] = (
            f"clamped SwiGLU MoE {experts} × {self.intermediate_size}, top {self.experts_per_token}, with biases"
        )
        return a

    @classmethod
    def tiny(cls) -> Self:
        return cls(
            vocab_size=61, hidden_size=24, intermediate_size=20, num_layers=3, num_heads=6, num_kv_heads=2, head_dim=10,
            max_seq_len=64, norm_eps=3e-5, rope=RopeConfig(theta=1000.0), sliding_window=5, sliding_layers=[1, 2],
            num_experts=5, experts_per_token=2, swiglu_alpha=1.5, swiglu_limit=0.9,
        )  # fmt: skip
