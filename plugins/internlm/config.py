"""How an InternLM 2 or 3 is configured, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from zoo.anatomy import Anatomy, DecoderConfig, RopeConfig

TINY = {
    "vocab_size": 61, "hidden_size": 24, "intermediate_size": 40, "num_layers": 2, "num_heads": 6, "num_kv_heads": 2,
    "max_seq_len": 64, "norm_eps": 3e-5, "rope": RopeConfig(theta=1000.0),
}  # fmt: skip


@dataclass
class InternLM2Config(DecoderConfig):
    """InternLM 2 and 2.5 (arXiv:2403.17297)."""

    family: str = "internlm2"
    attention_bias: bool = False  # q, k, v and o have biases

    def anatomy(self) -> Anatomy:
        return self.gated_anatomy(bias=self.attention_bias)

    @classmethod
    def tiny(cls) -> Self:
        return cls(**TINY, head_dim=4)


@dataclass
class InternLM3Config(DecoderConfig):
    """InternLM 3 (Shanghai AI Laboratory, 2025)."""

    family: str = "internlm3"
    attention_bias: bool = False  # q, k and v have biases
    has_bias: bool = False  # o, gate, up and down have biases

    def anatomy(self) -> Anatomy:
        return self.gated_anatomy(bias=self.attention_bias, out_bias=self.has_bias, mlp_bias=self.has_bias)

    @classmethod
    def tiny(cls) -> Self:
        return cls(**TINY, head_dim=10)
