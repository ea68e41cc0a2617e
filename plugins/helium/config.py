"""How a Helium is configured, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from zoo.anatomy import Anatomy, DecoderConfig, RopeConfig, describe_trunk, rope_in_words


@dataclass
class HeliumConfig(DecoderConfig):
    """Helium 1 (Kyutai, 2025)."""

    family: str = "helium"
    attention_bias: bool = False  # q, k and v have biases; o never has
    mlp_bias: bool = False  # gate, up and down have biases

    def anatomy(self) -> Anatomy:
        with describe_trunk(
            self, self.heads, position=rope_in_words(self.rope), bias=self.attention_bias, out_bias=False
        ) as a:
            a.gated_mlp(self.hidden_size, self.intermediate_size, bias=self.mlp_bias)
        a.traits["mlp"] = f"SwiGLU {self.intermediate_size}"
        return a

    @classmethod
    def tiny(cls) -> Self:
        return cls(
            vocab_size=61, hidden_size=24, intermediate_size=40, num_layers=2, num_heads=6, num_kv_heads=2, head_dim=4,
            max_seq_len=64, norm_eps=3e-5, rope=RopeConfig(theta=1000.0),
        )  # fmt: skip
