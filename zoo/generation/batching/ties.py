"""Choices that rounding could turn.

A matrix product of several rows adds in another order than that of one row, so its last bits differ, and so do the
logits: by 2^-19 of the largest at most in the models that were measured. Where the choice would be the same with errors
four times as large, it is what the text alone would give; elsewhere the text is read again by itself, and the error
that shows there is looked out for from then on, if it was larger than any before.
Shapes: V vocab, K trials.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from zoo.generation.decoding.sampling import Sampler

TRIALS = 6  # drawn with errors of random signs: a draw that they could turn is missed once in 2^6


class Slack:
    """How far logits [V] may be from those of the text alone, as a share of the largest."""

    def __init__(self) -> None:
        self.share = 2.0**-17

    def of(self, largest: float) -> float:
        """The error that logits may have of which this is the largest, either side of 0."""
        return self.share * max(1.0, largest)

    def learn(self, batched: Tensor, alone: Tensor) -> None:
        """Take in logits of which the true ones are known by now."""
        seen = float((batched - alone).abs().amax()) / max(1.0, float(alone.abs().amax()))
        self.share = max(self.share, min(4 * seen, 2.0**-8))


def is_clear(best: Sequence[float], slack: float) -> bool:
    """Whether the likeliest of the scores, of which the best two are given, stays so with errors of `slack`."""
    return len(best) < 2 or best[0] - best[1] > 2 * slack


def is_drawn_clearly(sampler: Sampler, scores: Tensor, slack: float) -> int | None:
    """The token drawn from scores [1, V], if it is drawn with such errors as well."""
    generator = torch.Generator().manual_seed(int(sampler.history.num_new))
    signs = torch.randint(2, (TRIALS, scores.shape[1]), generator=generator).to(scores) * 2 - 1  # [K, V]
    signs[0] = 0
    tokens = sampler.chosen(scores + signs * slack).tolist()
    return tokens[0] if len({*tokens}) == 1 else None
