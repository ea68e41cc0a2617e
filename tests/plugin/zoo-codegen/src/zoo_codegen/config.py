"""How a CodeGen is configured, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from zoo.anatomy import Anatomy, DecoderConfig, RopeConfig, heads_in_words, mlp_in_words, rope_in_words
from zoo.errors import ConfigError

BLOCKS = 4  # parts that q, k and v are stored in, one for each core that the first of them were trained on


@dataclass
class CodeGenConfig(DecoderConfig):
    """CodeGen (arXiv:2203.13474)."""

    family: str = "codegen"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rotary_dim % 2 or not 0 < self.rotary_dim <= self.head_dim:
            raise ConfigError(
                f"model.rope.partial={self.rope.partial} is not an even share of {self.head_dim} channels"
            )
        if self.num_heads % BLOCKS:
            raise ConfigError(f"model.num_heads={self.num_heads} is not a multiple of its files' {BLOCKS} blocks")

    @property
    def rotary_dim(self) -> int:
        """Channels of each head that rotate."""
        return int(self.head_dim * self.rope.partial)

    def anatomy(self) -> Anatomy:
        a, layers = Anatomy(max_seq_len=self.max_seq_len), range(self.num_layers)
        a.embedding("embed", self.vocab_size, self.hidden_size)
        with a.under("layers.{i}", layers):
            a.norm("norm", self.hidden_size, bias=True)
            a.attn(self.hidden_size, self.num_heads, self.num_kv_heads, self.head_dim)
            a.mlp(self.hidden_size, self.intermediate_size)
        a.attends(layers, self.num_heads, self.num_kv_heads, self.head_dim)
        a.norm("norm", self.hidden_size, bias=True)
        a.head(self.vocab_size, self.hidden_size, tied=self.tie_embeddings, bias=True)
        a.traits = {
            "attention": heads_in_words(self.num_heads, self.num_kv_heads),
            "position": rope_in_words(self.rope),
            "norm": "LayerNorm, pre",
            "block": "norm → (attention + MLP) → +",
            "mlp": mlp_in_words("gelu_tanh", self.intermediate_size),
        }
        return a

    @classmethod
    def tiny(cls) -> Self:
        return cls(
            vocab_size=61,
            hidden_size=48,
            intermediate_size=44,
            num_layers=2,
            num_heads=4,
            num_kv_heads=4,
            head_dim=12,
            max_seq_len=64,
            norm_eps=3e-5,
            rope=RopeConfig(partial=0.5),
        )
