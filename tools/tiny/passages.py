"""Token streams cut into consecutive windows, to measure with.

Shapes: T tokens of context, V vocab.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F

EOS = 2


@dataclass(frozen=True)
class Text:
    """A text as the model sees it."""

    ids: Tensor  # [tokens]
    num_bytes: int  # in UTF-8


def encode(tokenizer: Tokenizer, chapters: Iterable[str]) -> Text:
    """All chapters as one stream of ids, each between `<s>` and `</s>`."""
    chapters = tuple(chapters)
    ids = [i for chapter in chapters for i in (*tokenizer.encode(chapter).ids, EOS)]
    return Text(torch.tensor(ids), len("".join(chapters).encode()))


@dataclass(frozen=True)
class Loss:
    """How badly a text was predicted."""

    nats: float  # summed over tokens
    num_tokens: int
    num_bytes: int

    @property
    def per_token(self) -> float:
        """Nats per token."""
        return self.nats / self.num_tokens

    @property
    def perplexity(self) -> float:
        """Per token: how many equally likely tokens would be as hard to tell apart."""
        return math.exp(self.per_token)

    @property
    def bits_per_byte(self) -> float:
        """The same whatever the vocabulary."""
        return self.nats / math.log(2) / self.num_bytes


@torch.no_grad()
def measure(model: nn.Module, text: Text, *, context: int) -> Loss:
    """The loss on every token of `text` but the first, in consecutive windows of `context` predictions.

    Within a window a token sees those before it, across windows nothing: the strictest of the usual protocols.
    """
    nats = 0.0
    for start in range(0, len(text.ids) - 1, context):
        window = text.ids[start : start + context + 1]
        logits = model(window[None, :-1])[0]  # [T, V]
        nats += F.cross_entropy(logits.float(), window[1:], reduction="sum").item()
    return Loss(nats, len(text.ids) - 1, text.num_bytes)
