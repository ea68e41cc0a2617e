"""How BERT, RoBERTa and DistilBERT are configured, and what they are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from zoo.anatomy import Anatomy, at_least
from zoo.errors import ConfigError

from .fields import BERT_HEADS, POOLED_HEADS, EncoderConfig


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
        self._check()
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
        self._check()

    def anatomy(self) -> Anatomy:
        return self._anatomy(self.max_seq_len, 0, is_classifier_deep=True)

    @classmethod
    def tiny(cls) -> Self:
        return cls(
            vocab_size=61, hidden_size=24, intermediate_size=40, num_layers=2, num_heads=3, max_seq_len=50,
            head="masked_lm", pad_token_id=0,
        )  # fmt: skip
