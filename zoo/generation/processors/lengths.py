"""When a text may end, when it must, and what it begins with.

Shapes: R rows, V vocab, E end tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from zoo.generation.history import History
from zoo.generation.processors.bans import check_tokens, without

CERTAIN = 1e30  # a score beside which all others are nothing, and which may still be divided in float32


class MinLength:
    """No end before so many tokens in all, the prompt included."""

    def __init__(self, length: int, eos: Sequence[int]) -> None:
        self.length, self.eos = length, list(eos)

    def __call__(self, history: History, scores: Tensor) -> Tensor:
        return torch.where((history.lengths < self.length)[:, None], without(scores, self.eos), scores)


class MinNewTokens:
    """No end before so many tokens were added."""

    def __init__(self, count: int, eos: Sequence[int]) -> None:
        self.count, self.eos = count, list(eos)

    def __call__(self, history: History, scores: Tensor) -> Tensor:
        return without(scores, self.eos) if history.num_new < self.count else scores


class ForcedBOS:
    """One token alone after a first one that stands alone, as the start token of an encoder-decoder does."""

    def __init__(self, token: int) -> None:
        self.token = token

    def __call__(self, history: History, scores: Tensor) -> Tensor:
        return torch.where((history.lengths == 1)[:, None], only("forced_bos_token_id", [self.token], scores), scores)


class ForcedEOS:
    """One of these tokens where the length ends a text."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self.tokens = list(tokens)

    def __call__(self, history: History, scores: Tensor) -> Tensor:
        is_last = history.limits.eq(history.num_new + 1)
        return torch.where(is_last[:, None], only("forced_eos_token_id", self.tokens, scores), scores)


class ExponentialDecay:
    """The end token grows likelier by a power of the factor, from `start` new tokens on."""

    def __init__(self, start: int, factor: float, eos: Sequence[int]) -> None:
        self.start, self.factor, self.eos = start, factor, list(eos)

    def __call__(self, history: History, scores: Tensor) -> Tensor:
        if history.num_new <= self.start:
            return scores
        known = [token for token in self.eos if token < scores.shape[1]]
        ends = scores[:, known]  # [R, E]
        added = ends.abs() * (self._growth(history.num_new - self.start) - 1)
        added = torch.where(ends.abs() < CERTAIN, added.clamp(max=CERTAIN), added)
        changed = scores.clone()
        changed[:, known] = ends + added.masked_fill(~ends.isfinite(), 0.0)
        return changed

    def _growth(self, count: int) -> float:
        try:
            return min(float(self.factor) ** count, CERTAIN)
        except OverflowError:  # a power that no float holds
            return CERTAIN


def only(name: str, tokens: Sequence[int], scores: Tensor) -> Tensor:
    """Scores [R, V] of zero for `tokens` and minus infinity for all others."""
    check_tokens(name, tokens, scores.shape[1])
    forced = torch.full_like(scores, -torch.inf)
    forced[:, list(tokens)] = 0
    return forced
