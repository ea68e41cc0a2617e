"""Where the tail begins from which nothing is drawn. `keep` tokens stay at least: a beam search needs more than one.

Shapes: R rows, V vocab.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.generation.history import History

STEEP = 2.0**-20  # a temperature below which quotients of scores may be too large for float32
WIDEST = 100  # tokens that TopH looks at, as transformers does


class Temperature:
    """Scores divided by a number: above 1 flatter, below 1 steeper."""

    def __init__(self, temperature: float) -> None:
        self.temperature = temperature

    def __call__(self, history: History, scores: Tensor) -> Tensor:
        if self.temperature >= STEEP:
            return scores / self.temperature
        # Of the best alone the quotient is finite: 0. What is taken from all scores changes no probability.
        return (scores - scores.amax(-1, keepdim=True)) / max(self.temperature, torch.finfo(scores.dtype).tiny)


class TopK:
    """The k best scores, and those that tie with the last of them."""

    def __init__(self, k: int, keep: int = 1) -> None:
        self.k = max(k, keep)

    def __call__(self, history: History, scores: Tensor) -> Tensor:
        return scores.masked_fill(scores < best(scores, self.k), -torch.inf)


class TopP:
    """The fewest best scores whose probabilities add up to p (arXiv:1904.09751)."""

    def __init__(self, p: float, keep: int = 1) -> None:
        self.p, self.keep = p, keep

    def __call__(self, history: History, scores: Tensor) -> Tensor:
        ordered, index = scores.sort()
        tail = ordered.softmax(-1).cumsum(-1) <= 1 - self.p  # from the unlikeliest up, as transformers sums
        tail[:, -self.keep :] = False
        return scores.masked_fill(tail.scatter(1, index, tail), -torch.inf)


class MinP:
    """Scores whose probability is at least p times the best one's (arXiv:2407.01082)."""

    def __init__(self, p: float, keep: int = 1) -> None:
        self.p, self.keep = p, keep

    def __call__(self, history: History, scores: Tensor) -> Tensor:
        shares = scores.softmax(-1)
        tail = shares < self.p * shares.amax(-1, keepdim=True)
        kept = shares.topk(min(self.keep, scores.shape[1])).indices
        return scores.masked_fill(tail.scatter(1, kept, False), -torch.inf)


class TopH:
    """The likeliest of WIDEST tokens that hold a share h of their entropy (arXiv:2509.02510)."""

    def __init__(self, h: float) -> None:
        self.h = h

    def __call__(self, history: History, scores: Tensor) -> Tensor:
        values, index = scores.topk(min(WIDEST, scores.shape[1]))
        logs = values - values.logsumexp(-1, keepdim=True)
        shares = logs.softmax(-1)
        parts = (-shares * shares.log()).cumsum(-1)
        # A token of probability 0 counts nothing to the whole; to the sum it adds what is not a number, and is cut off.
        whole = -(shares * logs.clamp(min=torch.finfo(logs.dtype).min)).sum(-1, keepdim=True)
        kept = parts <= whole * self.h
        kept[:, 0] = True
        return scores.masked_fill(~torch.zeros_like(scores, dtype=torch.bool).scatter(1, index, kept), -torch.inf)


class TopNSigma:
    """Scores at most n standard deviations of all of them below the best (arXiv:2411.07641)."""

    def __init__(self, n: float) -> None:
        self.n = n

    def __call__(self, history: History, scores: Tensor) -> Tensor:
        is_open = scores.isfinite()
        count = is_open.sum(-1, keepdim=True)
        mean = scores.masked_fill(~is_open, 0.0).sum(-1, keepdim=True) / count
        spread = ((scores - mean).masked_fill(~is_open, 0.0).square().sum(-1, keepdim=True) / count).sqrt()
        return scores.masked_fill(scores < scores.amax(-1, keepdim=True) - self.n * spread, -torch.inf)


class TypicalP:
    """The tokens whose surprise is nearest to the expected one, until they hold a share p (arXiv:2202.00666)."""

    def __init__(self, p: float, keep: int = 1) -> None:
        self.p, self.keep = p, keep

    def __call__(self, history: History, scores: Tensor) -> Tensor:
        logs = scores.log_softmax(-1)
        expected = -(logs * logs.exp()).nansum(-1, keepdim=True)
        ordered, index = (-logs - expected).abs().sort()
        held = scores.gather(1, index).softmax(-1).cumsum(-1)
        last = (held < self.p).sum(1, keepdim=True).clamp(max=scores.shape[1] - 1)
        tail = ordered > ordered.gather(1, last)
        tail[:, : self.keep] = False
        return scores.masked_fill(tail.scatter(1, index, tail), -torch.inf)


class EpsilonCutoff:
    """Scores whose probability is at least epsilon, and the best (arXiv:2210.15191)."""

    def __init__(self, epsilon: float, keep: int = 1) -> None:
        self.epsilon, self.keep = epsilon, keep

    def __call__(self, history: History, scores: Tensor) -> Tensor:
        tail = (scores.softmax(-1) < self.epsilon) & (scores < best(scores, self.keep))
        return scores.masked_fill(tail, -torch.inf)


class EtaCutoff:
    """The same with a threshold that falls where the distribution is flat (arXiv:2210.15191)."""

    def __init__(self, epsilon: float, keep: int = 1) -> None:
        self.epsilon, self.keep = epsilon, keep

    def __call__(self, history: History, scores: Tensor) -> Tensor:
        logs = scores - scores.logsumexp(-1, keepdim=True)
        shares = logs.softmax(-1)
        entropy = -(shares * logs.clamp(min=torch.finfo(logs.dtype).min)).sum(-1, keepdim=True)
        epsilon = torch.tensor(self.epsilon, device=scores.device)  # in float32 whatever the scores, as transformers'
        eta = torch.minimum(epsilon.to(scores.dtype), epsilon.sqrt() * (-entropy).exp())
        return scores.masked_fill((scores.softmax(-1) < eta) & (scores < best(scores, self.keep)), -torch.inf)


def best(scores: Tensor, count: int) -> Tensor:
    """The lowest of the `count` best scores of each row, [R, 1]."""
    return scores.topk(min(count, scores.shape[1])).values[:, -1:]
