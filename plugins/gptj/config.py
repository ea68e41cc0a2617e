"""How a GPT-J is configured, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from zoo.anatomy import (
    Anatomy,
    DecoderConfig,
    RopeConfig,
    describe_trunk,
    mlp_in_words,
    one_of,
    rope_in_words,
    rotary_pairs,
)


@dataclass
class GPTJConfig(DecoderConfig):
    """GPT-J (Wang and Komatsuzaki, 2021, GPT-J-6B: A 6 Billion Parameter Autoregressive Language Model)."""

    family: str = "gptj"
    norm_eps: float = 1e-5  # added to the variance
    activation: str = "gelu_tanh"  # gelu | gelu_tanh | relu | silu
    rope: RopeConfig = field(default_factory=lambda: RopeConfig(partial=0.25))  # rotary positions

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("model.activation", self.activation, ("gelu", "gelu_tanh", "relu", "silu"))
        rotary_pairs(self.rope.partial, self.head_dim)

    def anatomy(self) -> Anatomy:
        with describe_trunk(
            self, self.heads, position=rope_in_words(self.rope), is_layer_norm=True, layout="parallel", head_bias=True
        ) as a:
            a.mlp(self.hidden_size, self.intermediate_size)
        a.traits["mlp"] = mlp_in_words(self.activation, self.intermediate_size)
        return a

    @classmethod
    def tiny(cls) -> Self:
        return cls(
            vocab_size=61, hidden_size=36, intermediate_size=44, num_layers=2, num_heads=3, num_kv_heads=3, head_dim=12,
            max_seq_len=64, norm_eps=3e-5, rope=RopeConfig(partial=0.5),
        )  # fmt: skip
