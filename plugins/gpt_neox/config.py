"""How a GPT-NeoX is configured, and what it is made of."""

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
class GPTNeoXConfig(DecoderConfig):
    """GPT-NeoX-20B (arXiv:2204.06745) and Pythia (arXiv:2304.01373)."""

    family: str = "gpt_neox"
    norm_eps: float = 1e-5  # added to the variance
    activation: str = "gelu"  # gelu | gelu_fast | gelu_tanh | relu | silu
    is_parallel: bool = True  # attention and MLP read the same state, and are added at once
    attention_bias: bool = True  # q, k, v and o have biases
    rope: RopeConfig = field(default_factory=lambda: RopeConfig(partial=0.25))  # rotary positions

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("model.activation", self.activation, ("gelu", "gelu_fast", "gelu_tanh", "relu", "silu"))
        rotary_pairs(self.rope.partial, self.head_dim)

    @property
    def layout(self) -> str:
        """Where the norms of a layer stand."""
        return "twin" if self.is_parallel else "pre"

    def anatomy(self) -> Anatomy:
        with describe_trunk(
            self, self.heads, position=rope_in_words(self.rope), bias=self.attention_bias, is_layer_norm=True,
            layout=self.layout,
        ) as a:  # fmt: skip
            a.mlp(self.hidden_size, self.intermediate_size)
        a.traits["mlp"] = mlp_in_words(self.activation, self.intermediate_size)
        return a

    @classmethod
    def tiny(cls) -> Self:
        return cls(
            vocab_size=61, hidden_size=24, intermediate_size=40, num_layers=2, num_heads=3, num_kv_heads=3, head_dim=8,
            max_seq_len=64, norm_eps=3e-5, rope=RopeConfig(theta=1000.0, partial=0.25),
        )  # fmt: skip
