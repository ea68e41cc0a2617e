"""How ChatGLM2, ChatGLM3 and GLM-4-9B are configured; a family of its own, ChatGLM-6B having other layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from zoo.anatomy import Anatomy, DecoderConfig, RopeConfig, heads_in_words, rope_in_words
from zoo.errors import ConfigError


@dataclass
class ChatGLM2Config(DecoderConfig):
    """ChatGLM2-6B, ChatGLM3-6B and GLM-4-9B in the layout of their remote code (arXiv:2406.12793)."""

    family: str = "chatglm2"
    attention_bias: bool = True  # q, k and v have biases; o never has

    def __post_init__(self) -> None:
        super().__post_init__()
        rotary = int(self.head_dim * self.rope.partial)
        if rotary < 2 or rotary % 2:
            raise ConfigError(
                f"model.rope.partial={self.rope.partial} of model.head_dim={self.head_dim} is {rotary} channels, not"
                " whole pairs"
            )

    def anatomy(self) -> Anatomy:
        a, layers = Anatomy(max_seq_len=self.max_seq_len), range(self.num_layers)
        heads = self.num_heads, self.num_kv_heads, self.head_dim
        a.embedding("embed", self.vocab_size, self.hidden_size)
        with a.under("layers.{i}", layers):
            a.norm("attn_norm", self.hidden_size)
            a.attn(self.hidden_size, *heads, bias=self.attention_bias, out_bias=False)
            a.norm("mlp_norm", self.hidden_size)
            a.gated_mlp(self.hidden_size, self.intermediate_size)
        a.attends(layers, *heads)
        a.norm("norm", self.hidden_size)
        a.head(self.vocab_size, self.hidden_size, tied=self.tie_embeddings)
        a.traits = {
            "attention": heads_in_words(self.num_heads, self.num_kv_heads),
            "position": rope_in_words(self.rope),
            "norm": "RMSNorm, pre",
            "block": "norm → attention → + → norm → MLP → +",
            "mlp": f"SwiGLU {self.intermediate_size}",
        }
        return a

    @classmethod
    def tiny(cls) -> Self:
        return cls(
            vocab_size=61, hidden_size=26, intermediate_size=40, num_layers=2, num_heads=6, num_kv_heads=2, head_dim=12,
            max_seq_len=64, rope=RopeConfig(theta=20_000.0, partial=0.5),
        )  # fmt: skip
