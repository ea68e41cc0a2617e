"""How an ELECTRA is configured, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from zoo.anatomy import ENCODER_HEADS, MISSING, Anatomy, at_least

from ..fields import EncoderConfig

ELECTRA_HEADS = (*ENCODER_HEADS, "replaced_tokens")


@dataclass
class ElectraConfig(EncoderConfig):
    """ELECTRA (arXiv:2003.10555); the discriminator's own head is replaced_tokens, the generator's masked_lm."""

    family: str = "electra"
    embed_size: int = MISSING  # width of the embeddings, projected where it is not hidden_size
    type_vocab_size: int = 2  # kinds of token: sentence A, sentence B
    norm_eps: float = 1e-12  # added to the variance

    def __post_init__(self) -> None:
        self._check(ELECTRA_HEADS)
        at_least(1, embed_size=self.embed_size, type_vocab_size=self.type_vocab_size)

    @property
    def width(self) -> int:
        return self.embed_size

    def anatomy(self) -> Anatomy:
        a = self._anatomy(self.max_seq_len, self.type_vocab_size, is_classifier_deep=True)
        if self.embed_size != self.hidden_size:
            a.linear("embed.proj", self.embed_size, self.hidden_size, "embedding", bias=True)
        if self.head == "replaced_tokens":
            a.linear("classifier.dense", self.hidden_size, self.hidden_size, "head", bias=True)
            a.linear("classifier.out_proj", self.hidden_size, 1, "head", bias=True)
        return a

    @classmethod
    def tiny(cls) -> Self:
        return cls(
            vocab_size=61, hidden_size=24, embed_size=14, intermediate_size=40, num_layers=2, num_heads=3,
            max_seq_len=50, type_vocab_size=3, head="masked_lm", norm_eps=3e-5, pad_token_id=0,
        )  # fmt: skip
