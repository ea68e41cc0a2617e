"""How BERT, RoBERTa and DistilBERT are configured, and what they are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from zoo.anatomy import MISSING, Anatomy, ModelConfig, at_least, heads_in_words, mlp_in_words, multiple_of, one_of
from zoo.errors import ConfigError

HEADS = (
    "none", "masked_lm", "sequence_classification", "token_classification", "question_answering", "multiple_choice",
)  # fmt: skip
BERT_HEADS = (*HEADS, "pretraining", "next_sentence")
CLASSIFIERS = ("sequence_classification", "token_classification")
LM_HEADS = ("masked_lm", "pretraining")
PAIR_HEADS = ("pretraining", "next_sentence")  # heads that tell whether sentence B follows sentence A
POOLED_HEADS = (*PAIR_HEADS, "sequence_classification", "multiple_choice")  # heads that in BERT read the pooled state


@dataclass
class EncoderConfig(ModelConfig):
    """Fields that the three families share; their heads are also multiple_choice, and those of BertConfig."""

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

    def _check(self, heads: Sequence[str]) -> None:
        at_least(1, vocab_size=self.vocab_size, hidden_size=self.hidden_size, num_heads=self.num_heads)
        at_least(1, intermediate_size=self.intermediate_size, max_seq_len=self.max_seq_len, num_labels=self.num_labels)
        at_least(1, num_layers=self.num_layers)
        multiple_of("model.hidden_size", self.hidden_size, "model.num_heads", self.num_heads)
        one_of("model.activation", self.activation, ("gelu", "gelu_tanh", "relu", "silu"))
        one_of("model.head", self.head, heads)
        if (self.num_labels is not None) != (self.head in CLASSIFIERS):
            needs = "needs" if self.num_labels is None else "does not use"
            raise ConfigError(f"model.head={self.head!r} {needs} model.num_labels")
        if self.labels and len(self.labels) != self.num_labels:
            raise ConfigError(f"model.labels names {len(self.labels)} classes, model.num_labels={self.num_labels}")

    def _check_pooler(self, has_pooler: bool, readers: Sequence[str]) -> None:
        if has_pooler and self.head not in ("none", *readers):
            raise ConfigError(f"model.head={self.head!r} does not use the pooled state: set model.has_pooler=false")
        if not has_pooler and self.head in readers:
            raise ConfigError(f"model.head={self.head!r} uses the pooled state: set model.has_pooler=true")

    def _anatomy(
        self, num_positions: int, num_token_types: int, *, has_pooler: bool = False, is_classifier_deep: bool = False
    ) -> Anatomy:
        a, dim = Anatomy(max_seq_len=self.max_seq_len), self.hidden_size
        with a.under("embed"):
            a.embedding("tokens", self.vocab_size, dim)
            a.embedding("positions", num_positions, dim, role="position")
            if num_token_types:
                a.embedding("token_types", num_token_types, dim)
            a.norm("norm", dim, bias=True)
        layers, head_dim = range(self.num_layers), dim // self.num_heads
        with a.under("layers.{i}", layers):
            a.attn(dim, self.num_heads, self.num_heads, head_dim, bias=True)
            a.norm("attn_norm", dim, bias=True)
            a.mlp(dim, self.intermediate_size)
            a.norm("mlp_norm", dim, bias=True)
        a.attends(layers, self.num_heads, self.num_heads, head_dim, is_causal=False, is_cached=False)
        if has_pooler:
            _once(a, "pooler.dense", dim, dim)
        self._describe_heads(a, is_classifier_deep)
        a.traits = {
            "attention": f"{heads_in_words(self.num_heads, self.num_heads)}, bidirectional",
            "position": f"learned {self.max_seq_len}",
            "norm": "LayerNorm, post",
            "block": "attention → + → norm → MLP → + → norm",
            "mlp": mlp_in_words(self.activation, self.intermediate_size),
            "head": self.head,
        }
        return a

    def _describe_heads(self, a: Anatomy, is_classifier_deep: bool) -> None:
        dim, labels = self.hidden_size, self.num_labels
        if self.head in LM_HEADS:
            with a.under("lm_head"):
                a.linear("dense", dim, dim, "head", bias=True)
                a.norm("norm", dim, bias=True)
                a.head(self.vocab_size, dim, tied=self.tie_embeddings, name="decoder")
                a.weight("decoder.bias", (self.vocab_size,), "head")
        if self.head in PAIR_HEADS:
            _once(a, "next_sentence", dim, 2)
        if self.head == "multiple_choice":
            labels = 1  # for each choice
        if self.head == "question_answering":
            a.linear("classifier", dim, 2, "head", bias=True)  # where an answer begins, and where it ends
        elif labels is not None and self.head == "token_classification":
            a.linear("classifier", dim, labels, "head", bias=True)
        elif labels is not None and is_classifier_deep:
            _once(a, "classifier.dense", dim, dim)
            _once(a, "classifier.out_proj", dim, labels)
        elif labels is not None:
            _once(a, "classifier", dim, labels)


@dataclass
class BertConfig(EncoderConfig):
    """BERT (arXiv:1810.04805). Its heads are also pretraining (masked LM and next sentence) and next_sentence."""

    family: str = "bert"
    type_vocab_size: int = 2  # kinds of token: sentence A, sentence B
    norm_eps: float = 1e-12  # added to the variance
    has_pooler: bool = False  # tanh of a projection of the first token; all heads but masked_lm, token_classification

    def __post_init__(self) -> None:
        self._check(BERT_HEADS)
        self._check_pooler(self.has_pooler, POOLED_HEADS)
        at_least(1, type_vocab_size=self.type_vocab_size)

    def anatomy(self) -> Anatomy:
        return self._anatomy(self.max_seq_len, self.type_vocab_size, has_pooler=self.has_pooler)

    @classmethod
    def tiny(cls) -> Self:
        return cls(
            vocab_size=61, hidden_size=24, intermediate_size=40, num_layers=2, num_heads=3, max_seq_len=50,
            type_vocab_size=3, head="pretraining", has_pooler=True, norm_eps=3e-5, pad_token_id=0,
        )  # fmt: skip


@dataclass
class RobertaConfig(EncoderConfig):
    """RoBERTa (arXiv:1907.11692)."""

    family: str = "roberta"
    pad_token_id: int | None = 1  # also the row of the position table that padding takes; positions start after it
    type_vocab_size: int = 1  # kinds of token; RoBERTa knows no sentence pairs
    norm_eps: float = 1e-5  # added to the variance
    has_pooler: bool = False  # tanh of a projection of the first token; with head=none and head=multiple_choice

    def __post_init__(self) -> None:
        self._check(HEADS)
        self._check_pooler(self.has_pooler, ("multiple_choice",))
        at_least(1, type_vocab_size=self.type_vocab_size)
        at_least(0, pad_token_id=self.pad_token_id)
        if self.pad_token_id is None:
            raise ConfigError("model.pad_token_id is missing: roberta counts positions from it")

    @property
    def num_positions(self) -> int:
        """Rows of the position table: those up to pad_token_id are no token's."""
        return self.max_seq_len + 1 + (self.pad_token_id or 0)

    def anatomy(self) -> Anatomy:
        return self._anatomy(
            self.num_positions, self.type_vocab_size, has_pooler=self.has_pooler,
            is_classifier_deep=self.head != "multiple_choice",
        )  # fmt: skip

    @classmethod
    def tiny(cls) -> Self:
        return cls(
            vocab_size=61, hidden_size=24, intermediate_size=40, num_layers=2, num_heads=3, max_seq_len=50,
            head="masked_lm", norm_eps=3e-5,
        )  # fmt: skip


@dataclass
class DistilBertConfig(EncoderConfig):
    """DistilBERT (arXiv:1910.01108)."""

    family: str = "distilbert"

    def __post_init__(self) -> None:
        self._check(HEADS)

    def anatomy(self) -> Anatomy:
        return self._anatomy(self.max_seq_len, 0, is_classifier_deep=True)

    @classmethod
    def tiny(cls) -> Self:
        return cls(
            vocab_size=61, hidden_size=24, intermediate_size=40, num_layers=2, num_heads=3, max_seq_len=50,
            head="masked_lm", pad_token_id=0,
        )  # fmt: skip


def _once(a: Anatomy, name: str, n_in: int, n_out: int) -> None:
    """A projection of one state per row: unlike `Anatomy.linear` it costs no token anything."""
    a.weight(f"{name}.weight", (n_out, n_in), "head")
    a.weight(f"{name}.bias", (n_out,), "head")
