"""How a LLaMA is configured, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from zoo.anatomy import Anatomy, DecoderConfig, RopeConfig, heads_in_words, rope_in_words


@dataclass
class LlamaConfig(DecoderConfig):
    """LLaMA 1 to 3.2 (arXiv:2302.13971, arXiv:2307.09288, arXiv:2407.21783)."""

    family: str = "llama"
    attention_bias: bool = False  # q, k, v and o have biases
    mlp_bias: bool = False  # gate, up and down have biases

    def anatomy(self) -> Anatomy:
        a = Anatomy(max_seq_len=self.max_seq_len)
        a.embedding("embed", self.vocab_size, self.hidden_size)
        layers = range(self.num_layers)
        with a.under("layers.{i}", layers):
            a.norm("attn_norm", self.hidden_size)
            a.attn(self.hidden_size, self.num_heads, self.num_kv_heads, self.head_dim, bias=self.attention_bias)
            a.norm("mlp_norm", self.hidden_size)
            a.gated_mlp(self.hidden_size, self.intermediate_size, bias=self.mlp_bias)
        a.attends(layers, self.num_heads, self.num_kv_heads, self.head_dim)
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
            vocab_size=61, hidden_size=24, intermediate_size=40, num_layers=2, num_heads=6, num_kv_heads=2, head_dim=10,
            max_seq_len=64, rope=RopeConfig(theta=1000.0),
        )  # fmt: skip
