"""Fields that encoders of texts share, and the heads they are fine-tuned with. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from zoo.anatomy.builder import Anatomy
from zoo.anatomy.config import MISSING, ModelConfig
from zoo.anatomy.limits import at_least, check_labels, multiple_of, one_of

ENCODER_HEADS = (
    "none", "masked_lm", "sequence_classification", "token_classification", "question_answering", "multiple_choice",
)  # fmt: skip
CLASSIFIERS = ("sequence_classification", "token_classification")
OF_TOKENS = ("token_classification", "question_answering")  # heads that classify every token, not the text


@dataclass
class TextEncoderConfig(ModelConfig):
    """An encoder of texts with one of several heads, which may also be multiple_choice."""

    vocab_size: int = MISSING  # rows of the token embedding
    hidden_size: int = MISSING  # width of the residual stream; a multiple of num_heads
    intermediate_size: int = MISSING  # width of the MLP
    num_layers: int = MISSING  # blocks in the stack
    num_heads: int = MISSING  # attention heads, each of hidden_size / num_heads channels
    max_seq_len: int = 512  # tokens of context
    activation: str = "gelu"  # of the MLP: gelu | gelu_tanh | relu | silu
    head: str = "none"  # none | masked_lm | sequence_classification | token_classification | question_answering
    num_labels: int | None = None  # classes of a classification head; None without one
    labels: list[str] = field(default_factory=list)  # their names, in order; empty: unnamed
    tie_embeddings: bool = True  # the masked-LM head multiplies by the token embedding

    @property
    def num_classes(self) -> int | None:
        """Numbers that the classifier gives: classes, the two ends of an answer, or how good a choice is."""
        return {"question_answering": 2, "multiple_choice": 1}.get(self.head, self.num_labels)

    def _check(self, heads: Sequence[str] = ENCODER_HEADS) -> None:
        at_least(1, vocab_size=self.vocab_size, hidden_size=self.hidden_size, num_heads=self.num_heads)
        at_least(1, intermediate_size=self.intermediate_size, max_seq_len=self.max_seq_len)
        at_least(1, num_layers=self.num_layers)
        multiple_of("model.hidden_size", self.hidden_size, "model.num_heads", self.num_heads)
        one_of("model.activation", self.activation, ("gelu", "gelu_tanh", "relu", "silu"))
        one_of("model.head", self.head, heads)
        check_labels(self.head, CLASSIFIERS, self.num_labels, self.labels)


def describe_once(a: Anatomy, name: str, n_in: int, n_out: int, *, bias: bool = True, role: str = "head") -> None:
    """A projection of one state per row: unlike `Anatomy.linear` it costs no token anything."""
    a.weight(f"{name}.weight", (n_out, n_in), role)
    if bias:
        a.weight(f"{name}.bias", (n_out,), role)
