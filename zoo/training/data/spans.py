"""T5's span corruption (arXiv:1910.10683, 3.1.4): runs of tokens give way to sentinels, and are what is predicted.

The lengths, the drawing of runs and their order are those of the released code. Shapes: T tokens of one text.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from zoo.errors import UsageError


def corrupt_spans(tokens: Tensor, mask: Tensor, *, first_sentinel: int, eos: int) -> tuple[Tensor, Tensor]:
    """What the encoder reads and the decoder predicts of tokens [T], where `mask` [T] is True for those to predict.

    Each run of the mask gives way to one sentinel in the first, and each run outside it to the same in the second:
    `first_sentinel`, then the id below it, and so on. Both end with `eos`.
    """
    return _with_sentinels(tokens, mask, first_sentinel, eos), _with_sentinels(tokens, ~mask, first_sentinel, eos)


def span_mask(
    length: int, *, share: float = 0.15, mean_span: float = 3.0, generator: Generator | None = None
) -> Tensor:
    """A mask [length] in runs: about `share` of the tokens, in runs of `mean_span` on average; it begins outside one.

    Raises UsageError for fewer than two tokens.
    """
    if length < 2:
        raise UsageError(f"{length} tokens have no span and something beside it")
    count, spans = span_counts(length, share=share, mean_span=mean_span)
    inside, outside = _cut(count, spans, generator), _cut(length - count, spans, generator)
    runs = torch.stack((outside, inside), 1).flatten()
    return (torch.arange(2 * spans) % 2 == 1).repeat_interleave(runs)


def span_lengths(inputs: int, *, share: float = 0.15, mean_span: float = 3.0) -> tuple[int, int]:
    """The most tokens of a text whose corrupted form has at most `inputs` tokens, and how many its targets have.

    Raises UsageError where not even two tokens fit.
    """

    def of(length: int) -> tuple[int, int]:
        count, spans = span_counts(length, share=share, mean_span=mean_span)
        return length - count + spans + 1, count + spans + 1  # each with its eos

    if of(2)[0] > inputs:
        raise UsageError(f"{inputs} tokens are too few for a corrupted text")
    length = 2
    while of(length + 1)[0] <= inputs:
        length += 1
    if share == 0.5 and of(length)[1] > of(length)[0]:
        length -= 1  # the released code's care for half and half: both sides are to be equally long
    return length, of(length)[1]


def span_counts(length: int, *, share: float = 0.15, mean_span: float = 3.0) -> tuple[int, int]:
    """How many of `length` tokens are inside spans, and how many spans these are."""
    count = min(max(round(length * share), 1), length - 1)
    return count, min(max(round(count / mean_span), 1), count, length - count)


def _cut(total: int, parts: int, generator: Generator | None) -> Tensor:
    """`total` cut into `parts` runs of at least 1, each way as likely."""
    starts = torch.zeros(total, dtype=torch.long)
    starts[1 + torch.randperm(total - 1, generator=generator)[: parts - 1]] = 1
    return torch.bincount(starts.cumsum(0), minlength=parts)


def _with_sentinels(tokens: Tensor, hidden: Tensor, first_sentinel: int, eos: int) -> Tensor:
    is_first = hidden & ~torch.cat((hidden.new_zeros(1), hidden[:-1]))
    shown = tokens.where(~is_first, first_sentinel + 1 - is_first.cumsum(0))
    return torch.cat((shown[~hidden | is_first], tokens.new_tensor([eos])))
