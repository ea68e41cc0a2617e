"""How ChatGLM2, ChatGLM3 and GLM-4-9B are configured; a family of its own, ChatGLM-6B having other layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from zoo.anatomy import Anatomy, DecoderConfig, RopeConfig, rotary_pairs


@dataclass
class ChatGLM2Config(DecoderConfig):
    """ChatGLM2-6B, ChatGLM3-6B and GLM-4-9B in the layout of their remote code (arXiv:2406.12793)."""

    family: str = "chatglm2"
    attention_bias: bool = True  # q, k and v have biases; o never has

    def __post_init__(self) -> None:
        super().__post_init__()
        rotary_pairs(self.rope.partial, self.head_dim)

    def anatomy(self) -> Anatomy:
        return self.gated_anatomy(bias=self.attention_bias, out_bias=False)

    @classmethod
    def tiny(cls) -> Self:
        return cls(
            vocab_size=61, hidden_size=26, intermediate_size=40, num_layers=2, num_heads=6, num_kv_heads=2, head_dim=12,
            max_seq_len=64, norm_eps=3e-5, rope=RopeConfig(theta=20_000.0, partial=0.5),
        )  # fmt: skip
