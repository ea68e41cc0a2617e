"""How a LLaMA is configured, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from zoo.anatomy import Anatomy, DecoderConfig, RopeConfig


@dataclass
class LlamaConfig(DecoderConfig):
    """LLaMA 1 to 3.2 (arXiv:2302.13971, arXiv:2307.09288, arXiv:2407.21783)."""

    family: str = "llama"
    attention_bias: bool = False  # q, k, v and o have biases
    mlp_bias: bool = False  # gate, up and down have biases

    def anatomy(self) -> Anatomy:
        return self.gated_anatomy(bias=self.attention_bias, mlp_bias=self.mlp_bias)

    @classmethod
    def tiny(cls) -> Self:
        return cls(
            vocab_size=61, hidden_size=24, intermediate_size=40, num_layers=2, num_heads=6, num_kv_heads=2, head_dim=10,
            max_seq_len=64, norm_eps=3e-5, rope=RopeConfig(theta=1000.0),
        )  # fmt: skip
