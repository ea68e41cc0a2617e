"""How a Stranger is configured, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from zoo.anatomy import MISSING, Anatomy, ModelConfig, at_least, multiple_of


@dataclass
class StrangerConfig(ModelConfig):
    """A Stranger."""

    family: str = "stranger"
    vocab_size: int = MISSING  # rows of the embedding
    hidden_size: int = MISSING  # width of the residual stream
    num_layers: int = MISSING  # blocks in the stack
    num_heads: int = MISSING  # attention heads
    max_seq_len: int = 40  # tokens of context
    norm_eps: float = 1e-5  # added to the variance
    tie_embeddings: bool = False  # the output head is the embedding

    def __post_init__(self) -> None:
        at_least(1, num_heads=self.num_heads, max_seq_len=self.max_seq_len)
        multiple_of("model.hidden_size", self.hidden_size, "model.num_heads", self.num_heads)

    def anatomy(self) -> Anatomy:
        a, dim = Anatomy(max_seq_len=self.max_seq_len), self.hidden_size
        a.embedding("embed", self.vocab_size, dim)
        a.embedding("position", self.max_seq_len, dim, role="position")
        with a.under("layers.{i}", range(self.num_layers)):
            a.norm("norm", dim, bias=True)
            a.attn(dim, self.num_heads, self.num_heads, dim // self.num_heads, bias=True)
        a.attends(range(self.num_layers), self.num_heads, self.num_heads, dim // self.num_heads)
        a.head(self.vocab_size, dim, tied=self.tie_embeddings)
        a.traits = {"attention": f"MHA {self.num_heads}"}
        return a

    @classmethod
    def tiny(cls) -> Self:
        return cls(vocab_size=31, hidden_size=12, num_layers=2, num_heads=3)
