"""How a GPT-2 is configured, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from zoo.anatomy import MISSING, Anatomy, ModelConfig, at_least, describe_trunk, mlp_in_words, multiple_of, one_of

ACTIVATIONS = ("gelu_tanh", "gelu", "relu", "silu")


@dataclass
class GPT2Config(ModelConfig):
    """GPT-2 (Radford et al., 2019, Language Models are Unsupervised Multitask Learners)."""

    family: str = "gpt2"
    vocab_size: int = MISSING  # rows of the embedding
    hidden_size: int = MISSING  # width of the residual stream
    intermediate_size: int = MISSING  # width of the MLP; 4 * hidden_size in every released size
    num_layers: int = MISSING  # blocks in the stack
    num_heads: int = MISSING  # divides hidden_size
    max_seq_len: int = 1024  # tokens of context, and rows of the position embedding
    norm_eps: float = 1e-5  # added to the variance
    activation: str = "gelu_tanh"  # gelu_tanh | gelu | relu | silu
    tie_embeddings: bool = True  # the output head is the embedding
    scale_scores: bool = True  # attention scores are divided by sqrt(hidden_size / num_heads)
    scale_scores_by_layer: bool = False  # attention scores of the n-th layer are divided by n as well (Mistral's GPT-2)
    upcast_scores: bool = False  # attention scores are computed in float32 whatever the dtype (Mistral's GPT-2)

    def __post_init__(self) -> None:
        at_least(1, vocab_size=self.vocab_size, hidden_size=self.hidden_size, num_heads=self.num_heads)
        at_least(1, intermediate_size=self.intermediate_size, max_seq_len=self.max_seq_len)
        at_least(1, num_layers=self.num_layers)
        multiple_of("model.hidden_size", self.hidden_size, "model.num_heads", self.num_heads)
        one_of("model.activation", self.activation, ACTIVATIONS)

    def anatomy(self) -> Anatomy:
        heads = self.num_heads, self.num_heads, self.hidden_size // self.num_heads
        words = f"learned {self.max_seq_len}"
        with describe_trunk(self, heads, position=words, bias=True, is_layer_norm=True) as a:
            a.mlp(self.hidden_size, self.intermediate_size)
        a.embedding("position_embed", self.max_seq_len, self.hidden_size, "position")
        a.traits["mlp"] = mlp_in_words(self.activation, self.intermediate_size)
        return a

    @classmethod
    def tiny(cls) -> Self:
        return cls(
            vocab_size=61, hidden_size=24, intermediate_size=44, num_layers=2, num_heads=3, max_seq_len=64,
            norm_eps=3e-5,
        )  # fmt: skip
