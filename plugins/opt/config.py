"""How an OPT is configured, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from zoo.anatomy import MISSING, Anatomy, ModelConfig, at_least, heads_in_words, mlp_in_words, multiple_of, one_of

OFFSET = 2  # rows of the position embedding before that of the first token


@dataclass
class OPTConfig(ModelConfig):
    """OPT (arXiv:2205.01068) and Galactica (arXiv:2211.09085)."""

    family: str = "opt"
    vocab_size: int = MISSING  # rows of the embedding
    hidden_size: int = MISSING  # width of the residual stream
    embed_size: int = MISSING  # width of the embedding and of what the head reads; projected where not hidden_size
    intermediate_size: int = MISSING  # width of the MLP
    num_layers: int = MISSING  # blocks in the stack
    num_heads: int = MISSING  # divides hidden_size
    max_seq_len: int = 2048  # tokens of context; the position embedding has 2 rows more
    activation: str = "relu"  # relu | gelu | gelu_tanh | silu
    is_pre_norm: bool = True  # norms stand before each branch and behind the last layer, not behind each addition
    has_bias: bool = True  # attention and MLP have biases
    tie_embeddings: bool = True  # the output head is the embedding

    def __post_init__(self) -> None:
        at_least(1, vocab_size=self.vocab_size, hidden_size=self.hidden_size, num_heads=self.num_heads)
        at_least(1, embed_size=self.embed_size, intermediate_size=self.intermediate_size, max_seq_len=self.max_seq_len)
        at_least(1, num_layers=self.num_layers)
        multiple_of("model.hidden_size", self.hidden_size, "model.num_heads", self.num_heads)
        one_of("model.activation", self.activation, ("relu", "gelu", "gelu_tanh", "silu"))

    def anatomy(self) -> Anatomy:
        a, layers, d = Anatomy(max_seq_len=self.max_seq_len), range(self.num_layers), self.hidden_size
        heads = self.num_heads, self.num_heads, d // self.num_heads
        a.embedding("embed", self.vocab_size, self.embed_size)
        a.embedding("position_embed", self.max_seq_len + OFFSET, d, "position")
        if self.embed_size != d:
            a.linear("in_proj", self.embed_size, d, "embedding")
            a.linear("out_proj", d, self.embed_size, "head")
        with a.under("layers.{i}", layers):
            a.norm("attn_norm", d, bias=True)
            a.attn(d, *heads, bias=self.has_bias)
            a.norm("mlp_norm", d, bias=True)
            a.mlp(d, self.intermediate_size, bias=self.has_bias)
        a.attends(layers, *heads)
        if self.is_pre_norm:
            a.norm("norm", d, bias=True)
        a.head(self.vocab_size, self.embed_size, tied=self.tie_embeddings)
        order = "norm → attention → + → norm → MLP → +" if self.is_pre_norm else "attention → + → norm → MLP → + → norm"
        a.traits = {
            "attention": heads_in_words(*heads[:2]), "position": f"learned {self.max_seq_len}",
            "norm": f"LayerNorm, {'pre' if self.is_pre_norm else 'post'}", "block": order,
            "mlp": mlp_in_words(self.activation, self.intermediate_size),
        }  # fmt: skip
        return a

    @classmethod
    def tiny(cls) -> Self:
        return cls(
            vocab_size=61, hidden_size=24, embed_size=14, intermediate_size=44, num_layers=2, num_heads=3,
            max_seq_len=64, is_pre_norm=False,
        )  # fmt: skip
