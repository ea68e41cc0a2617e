"""How a BLOOM is configured, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from zoo.anatomy import MISSING, Anatomy, ModelConfig, at_least, describe_trunk, mlp_in_words, multiple_of


@dataclass
class BloomConfig(ModelConfig):
    """BLOOM 560M to 176B (arXiv:2211.05100)."""

    family: str = "bloom"
    vocab_size: int = MISSING  # rows of the embedding
    hidden_size: int = MISSING  # width of the residual stream; the MLP is 4 times as wide
    num_layers: int = MISSING  # blocks in the stack
    num_heads: int = MISSING  # divides hidden_size; need not be a power of two
    max_seq_len: int = 2048  # tokens of context in training; ALiBi sets no limit
    norm_eps: float = 1e-5  # added to the variance
    norm_residual: bool = False  # the skip branch starts after the norm, not before it
    tie_embeddings: bool = True  # the output head is the embedding

    def __post_init__(self) -> None:
        at_least(1, vocab_size=self.vocab_size, hidden_size=self.hidden_size, num_heads=self.num_heads)
        at_least(1, max_seq_len=self.max_seq_len)
        at_least(1, num_layers=self.num_layers)
        multiple_of("model.hidden_size", self.hidden_size, "model.num_heads", self.num_heads)

    @property
    def head_dim(self) -> int:
        """Channels per head."""
        return self.hidden_size // self.num_heads

    def anatomy(self) -> Anatomy:
        heads = self.num_heads, self.num_heads, self.head_dim
        with describe_trunk(self, heads, position="ALiBi", bias=True, is_layer_norm=True) as a:
            a.mlp(self.hidden_size, 4 * self.hidden_size)
        a.norm("embed_norm", self.hidden_size, bias=True)
        a.traits["norm"] += ", and after the embedding"
        a.traits["mlp"] = mlp_in_words("gelu_bloom", 4 * self.hidden_size)
        return a

    @classmethod
    def tiny(cls) -> Self:
        return cls(vocab_size=61, hidden_size=24, num_layers=2, num_heads=6, max_seq_len=64, norm_eps=3e-5)
