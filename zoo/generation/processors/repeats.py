"""What was said before, made less likely, likelier or impossible.

Shapes: R rows, T tokens so far, S tokens of the source, V vocab, n tokens of a run.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from zoo.generation.history import History, rows_of


class RepetitionPenalty:
    """Scores of tokens that are there, divided by the penalty where positive, else multiplied (arXiv:1909.05858)."""

    def __init__(self, penalty: float) -> None:
        self.penalty = penalty

    def __call__(self, history: History, scores: Tensor) -> Tensor:
        return penalised(scores, marked(history.tokens, scores), self.penalty)


class EncoderRepetitionPenalty:
    """The same of the source's tokens (of an encoder-decoder), or the prompt's, and the other way round."""

    def __init__(self, penalty: float, sources: Sequence[Sequence[int]]) -> None:
        self.penalty, self.sources = 1 / penalty, sources

    def __call__(self, history: History, scores: Tensor) -> Tensor:
        return penalised(scores, marked(spread(self.sources, scores), scores), self.penalty)


class PresencePenalty:
    """A number taken from the score of each token that was generated already."""

    def __init__(self, penalty: float) -> None:
        self.penalty = penalty

    def __call__(self, history: History, scores: Tensor) -> Tensor:
        return scores - self.penalty * marked(history.added, scores).to(scores.dtype)


class FrequencyPenalty:
    """A number taken from the score of a token for each time it was generated."""

    def __init__(self, penalty: float) -> None:
        self.penalty = penalty

    def __call__(self, history: History, scores: Tensor) -> Tensor:
        return scores - self.penalty * counted(history.added, scores)


class GroupDiversity:
    """A number taken from a score for each beam of the groups before that chose the token now (arXiv:1610.02424)."""

    def __init__(self, penalty: float) -> None:
        self.penalty = penalty
        self.chosen: Tensor | None = None  # tokens [R, beams of the groups before] of this step

    def __call__(self, history: History, scores: Tensor) -> Tensor:
        return scores if self.chosen is None else scores - self.penalty * counted(self.chosen, scores)


class NoRepeatNgram:
    """No run of `size` tokens comes twice."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, history: History, scores: Tensor) -> Tensor:
        return scores.masked_fill(completing(history.tokens, history.tokens, self.size, scores), -torch.inf)


class EncoderNoRepeatNgram:
    """No run of `size` tokens of the source, or the prompt, comes."""

    def __init__(self, size: int, sources: Sequence[Sequence[int]]) -> None:
        self.size, self.sources = size, sources

    def __call__(self, history: History, scores: Tensor) -> Tensor:
        sources = spread(self.sources, scores)
        return scores.masked_fill(completing(history.tokens, sources, self.size, scores), -torch.inf)


def penalised(scores: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Positive scores of `seen` [R, V] tokens divided by the penalty, negative ones multiplied."""
    return torch.where(seen, torch.where(scores < 0, scores * penalty, scores / penalty), scores)


def counted(tokens: Tensor, scores: Tensor) -> Tensor:
    """How often each of V tokens is in its row of `tokens` [R, T], as scores [R, V]."""
    counts = scores.new_zeros(scores.shape[0], scores.shape[1] + 1)
    return counts.scatter_add_(1, _place(tokens, scores), torch.ones_like(tokens, dtype=counts.dtype))[:, :-1]


def marked(tokens: Tensor, scores: Tensor) -> Tensor:
    """Which of V tokens are in their row of `tokens` [R, T], bool [R, V]."""
    seen = torch.zeros(scores.shape[0], scores.shape[1] + 1, dtype=torch.bool, device=scores.device)
    return seen.scatter_(1, _place(tokens, scores), True)[:, :-1]


def completing(tokens: Tensor, text: Tensor, size: int, scores: Tensor) -> Tensor:
    """Which tokens would make the ends of `tokens` [R, T] a run of `size` that `text` [R, S] holds, bool [R, V]."""
    if tokens.shape[1] < size - 1 or text.shape[1] < size:
        return torch.zeros_like(scores, dtype=torch.bool)
    prefix = tokens[:, tokens.shape[1] - size + 1 :]
    runs = text.unfold(1, size, 1)  # [R, S-n+1, n]
    is_there = (runs[..., :-1] == prefix[:, None]).all(-1) & (prefix >= 0).all(-1, keepdim=True)
    return marked(torch.where(is_there, runs[..., -1], -1), scores)


def spread(sources: Sequence[Sequence[int]], scores: Tensor) -> Tensor:
    """The source of each row, [R, S], where several rows in a row share one."""
    return rows_of(sources, scores.device).repeat_interleave(scores.shape[0] // len(sources), 0)


def _place(tokens: Tensor, scores: Tensor) -> Tensor:
    """Columns of `tokens`; what is no token, or none that the model can say, goes to one more than there are."""
    return torch.where((tokens < 0) | (tokens >= scores.shape[1]), scores.shape[1], tokens)
