"""What BERT reads and predicts: masked tokens, and whether one sentence follows another (arXiv:1810.04805, A.1).

Shapes: B batch, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from zoo.errors import UsageError
from zoo.training.losses.tokens import IGNORED


def mask_tokens(
    tokens: Tensor,
    *,
    mask_id: int,
    vocab_size: int,
    special: Tensor | None = None,
    share: float = 0.15,
    generator: Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """What the model reads and what it predicts, both [B, T].

    Of the tokens that are not `special` (True for padding and the like) each is chosen with the probability `share`.
    Of those chosen 80 % become `mask_id`, 10 % a random token, 10 % stay; the label is what stood there, elsewhere
    IGNORED.
    """
    draw = torch.rand(tokens.shape, generator=generator, device=tokens.device)
    chosen = draw < share
    if special is not None:
        chosen &= ~special
    kind = torch.rand(tokens.shape, generator=generator, device=tokens.device)
    random = torch.randint(vocab_size, tokens.shape, generator=generator, device=tokens.device)
    read = tokens.masked_fill(chosen & (kind < 0.8), mask_id).where(~(chosen & (kind >= 0.9)), random)
    return read, tokens.masked_fill(~chosen, IGNORED)


class Pair(NamedTuple):
    """Two runs of tokens, and whether the second follows the first: 0 where it does, 1 where it is of another text."""

    first: list[int]
    second: list[int]
    label: int


def sentence_pair(texts: Sequence[Sequence[Sequence[int]]], text: int, at: int, generator: Generator) -> Pair:
    """Sentence `at` of a text with the next one or, one time in two, with any sentence of another text.

    `texts` are texts of sentences of token ids. The labels are BERT's: 0 is "the next". Raises UsageError where the
    sentence has no next one, and for a single text.
    """
    if not 0 <= at < len(texts[text]) - 1:
        raise UsageError(f"sentence {at} of text {text} is followed by none")
    if len(texts) < 2:
        raise UsageError("another text is needed to draw a sentence from")
    first = list(texts[text][at])
    if not _below(2, generator):
        return Pair(first, list(texts[text][at + 1]), 0)
    other = texts[(text + 1 + _below(len(texts) - 1, generator)) % len(texts)]
    return Pair(first, list(other[_below(len(other), generator)]), 1)


def _below(limit: int, generator: Generator) -> int:
    return int(torch.randint(limit, (), generator=generator))
