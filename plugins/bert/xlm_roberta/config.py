"""How an XLM-RoBERTa is configured, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from zoo.anatomy import Anatomy

from ..config import RobertaConfig


@dataclass
class XLMRobertaConfig(RobertaConfig):
    """XLM-RoBERTa (arXiv:1911.02116), XL and XXL (arXiv:2105.00572)."""

    family: str = "xlm_roberta"
    is_pre_norm: bool = False  # XL and XXL: norms before each branch and behind the last layer, none at the embeddings

    def anatomy(self) -> Anatomy:
        return self._anatomy(
            self.num_positions, self.type_vocab_size, has_pooler=self.has_pooler,
            is_classifier_deep=self.head != "multiple_choice", is_pre_norm=self.is_pre_norm,
        )  # fmt: skip

    @classmethod
    def tiny(cls) -> Self:
        return cls(
            vocab_size=61, hidden_size=24, intermediate_size=40, num_layers=2, num_heads=3, max_seq_len=50,
            head="masked_lm", norm_eps=3e-5,
        )  # fmt: skip
