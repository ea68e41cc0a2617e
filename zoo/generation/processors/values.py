"""Scores as numbers: finite ones, and log probabilities. Shapes: R rows, V vocab."""

from __future__ import annotations

from torch import Tensor

from zoo.generation.history import History


class RemoveInvalid:
    """NaN is 0, and what is infinite the largest or smallest number there is."""

    def __call__(self, history: History, scores: Tensor) -> Tensor:
        return scores.nan_to_num(nan=0.0)


class Renormalise:
    """Log probabilities again, after all that was changed."""

    def __call__(self, history: History, scores: Tensor) -> Tensor:
        return scores.log_softmax(-1)
