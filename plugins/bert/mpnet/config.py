"""How an MPNet is configured, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from zoo.anatomy import Anatomy

from ..fields import EncoderConfig

PADDING = 1  # the row of the position table that padding takes, whatever a config's pad_token_id; positions follow it
NUM_BUCKETS, MAX_DISTANCE = 32, 128  # of the bias: no config has another that the reference computes with


@dataclass
class MPNetConfig(EncoderConfig):
    """MPNet (arXiv:2004.09297)."""

    family: str = "mpnet"
    norm_eps: float = 1e-5  # added to the variance
    has_pooler: bool = False  # tanh of a projection of the first token; with head=none and head=multiple_choice

    def __post_init__(self) -> None:
        self._check()
        self._check_pooler(self.has_pooler, ("multiple_choice",))

    @property
    def num_positions(self) -> int:
        """Rows of the position table: those up to that of padding are no token's."""
        return self.max_seq_len + 1 + PADDING

    def anatomy(self) -> Anatomy:
        a = self._anatomy(
            self.num_positions, 0, has_pooler=self.has_pooler, is_classifier_deep=self.head != "multiple_choice"
        )
        a.traits["position"] = f"learned {self.max_seq_len}, and a learned bias per distance"
        return a

    def _describe_layers(self, a: Anatomy) -> None:
        super()._describe_layers(a)
        with a.under("layers.{i}", [0]):  # of which all layers read it
            a.relative_bias(NUM_BUCKETS, self.num_heads)

    @classmethod
    def tiny(cls) -> Self:
        return cls(
            vocab_size=61, hidden_size=24, intermediate_size=40, num_layers=2, num_heads=3, max_seq_len=50,
            head="masked_lm", norm_eps=3e-5, pad_token_id=1,
        )  # fmt: skip
