"""How an ERNIE 4.5 is configured, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from zoo.anatomy import Anatomy, DecoderConfig, RopeConfig


@dataclass
class Ernie45Config(DecoderConfig):
    """ERNIE 4.5 0.3B (Baidu, 2025, ERNIE 4.5 Technical Report)."""

    family: str = "ernie4_5"
    tie_embeddings: bool = True  # the output head is the embedding
    has_bias: bool = False  # attention and MLP have biases

    def anatomy(self) -> Anatomy:
        return self.gated_anatomy(bias=self.has_bias, mlp_bias=self.has_bias)

    @classmethod
    def tiny(cls) -> Self:
        return cls(
            vocab_size=61, hidden_size=24, intermediate_size=40, num_layers=2, num_heads=6, num_kv_heads=2, head_dim=10,
            max_seq_len=64, norm_eps=3e-5, rope=RopeConfig(theta=1000.0),
        )  # fmt: skip
