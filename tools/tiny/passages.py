"""Token streams cut into windows: random ones to train on, consecutive ones to measure with.

Shapes: B batch, T tokens of context, V vocab.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F
from vocabulary import BOS, EOS


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


class Passages:
    """Batches of a stream's windows of `context` tokens, drawn by a generator of its own.

    Half of them start anywhere, which teaches all positions of a chapter; half start with a paragraph and have `<s>`
    before it, because that is how a prompt will start.
    """

    def __init__(self, stream: Tensor, newline: int, *, context: int, seed: int) -> None:
        self.stream, self.context = stream, context
        self.last = len(stream) - context - 1
        before = ((stream == newline) | (stream == BOS)).nonzero().flatten()
        self.before_paragraphs = before[before <= self.last]
        self.generator = torch.Generator().manual_seed(seed)

    def draw(self, batch_size: int) -> tuple[Tensor, Tensor]:
        """Inputs [B, T] and the tokens that follow each [B, T]."""
        half = batch_size // 2
        chosen = torch.randint(len(self.before_paragraphs), (half,), generator=self.generator)
        anywhere = torch.randint(self.last + 1, (batch_size - half,), generator=self.generator)
        starts = torch.cat([self.before_paragraphs[chosen], anywhere])
        windows = self.stream[starts[:, None] + torch.arange(self.context + 1)]  # [B, T + 1]
        windows[:half, 0] = BOS
        return windows[:, :-1], windows[:, 1:]


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
