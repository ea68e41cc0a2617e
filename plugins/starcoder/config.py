"""How a StarCoder2 is configured, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from zoo.anatomy import Anatomy, DecoderConfig, RopeConfig, at_least, describe_trunk, mlp_in_words, rope_in_words


@dataclass
class StarCoder2Config(DecoderConfig):
    """StarCoder2 (arXiv:2402.19173)."""

    family: str = "starcoder2"
    norm_eps: float = 1e-5  # added to the variance
    has_bias: bool = True  # attention and MLP have biases
    sliding_window: int | None = None  # tokens a layer sees, its own among them; None: all

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, sliding_window=self.sliding_window)

    def anatomy(self) -> Anatomy:
        with describe_trunk(
            self, self.heads, position=rope_in_words(self.rope), bias=self.has_bias, is_layer_norm=True,
            window_of=lambda layer: self.sliding_window,
        ) as a:  # fmt: skip
            a.mlp(self.hidden_size, self.intermediate_size, bias=self.has_bias)
        a.traits["attention"] += f", window {self.sliding_window}" if self.sliding_window else ""
        a.traits["mlp"] = mlp_in_words("gelu_tanh", self.intermediate_size)
        return a

    @classmethod
    def tiny(cls) -> Self:
        return cls(
            vocab_size=61, hidden_size=24, intermediate_size=40, num_layers=2, num_heads=6, num_kv_heads=2, head_dim=10,
            max_seq_len=64, norm_eps=3e-5, sliding_window=5, rope=RopeConfig(theta=1000.0),
        )  # fmt: skip
