"""How far two models differ in what they expect next, on the same tokens.

Shapes: k positions, V vocab, n positions in all.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo.measurement.perplexity import Reading

KEPT_BYTES = 2**31  # of the first model's distributions: 16,384 tokens of a vocabulary of 32,768


@dataclass(frozen=True)
class Agreement:
    """A model against the first: KL(first || this) in nats, and how often both expect the same token."""

    kl: Tensor  # [m] nats, of the first m scored tokens
    same: Tensor  # [n] bool: the likeliest token is the same
    losses: Tensor  # [n] this model's loss less the first's, nats

    @property
    def mean_kl(self) -> float:
        """Nats per token."""
        return self.kl.mean(dtype=torch.float64).item()

    @property
    def share(self) -> float:
        """Share of positions with the same likeliest token."""
        return self.same.double().mean().item()

    def to_dict(self) -> dict[str, Any]:
        """The figures as JSON values."""
        worst = int(self.kl.argmax())
        return {
            "tokens": len(self.same),
            "agreement": self.share,
            "kl": self.mean_kl,
            "kl_tokens": len(self.kl),
            "kl_largest": self.kl[worst].item(),
            "kl_largest_at": worst,
            "loss_difference": self.losses.mean(dtype=torch.float64).item(),
            "loss_difference_largest": self.losses.abs().max().item(),
        }


class Distributions:
    """The first model's log probabilities in float32, in a file: one model is in memory at a time.

    As many tokens are kept as `most_bytes` hold, from the first on.
    """

    def __init__(self, file: Path, num_tokens: int, vocab_size: int, most_bytes: int = KEPT_BYTES) -> None:
        self.length = min(num_tokens, max(1, most_bytes // (4 * vocab_size)))
        self.kept = np.memmap(file, dtype=np.float32, mode="w+", shape=(self.length, vocab_size))

    def keep(self, start: int, log_probs: Tensor) -> None:
        """Take in the log probabilities [k, V] of the tokens from `start` on."""
        end = min(start + len(log_probs), self.length)
        if start < end:
            self.kept[start:end] = log_probs[: end - start].float().cpu().numpy()


class KLMeter:
    """KL(kept || another model's), token by token."""

    def __init__(self, reference: Distributions) -> None:
        self.reference = reference
        self.kl = torch.zeros(reference.length)

    def take(self, start: int, log_probs: Tensor) -> None:
        """Compare the log probabilities [k, V] of the tokens from `start` on."""
        end = min(start + len(log_probs), self.reference.length)
        if start < end:
            kept = torch.from_numpy(self.reference.kept[start:end].copy())
            self.kl[start:end] = kl_divergence(kept, log_probs[: end - start].float().cpu())


def kl_divergence(a: Tensor, b: Tensor) -> Tensor:
    """KL(a || b) [k] in nats of log probabilities [k, V]. Identical ones give 0; what `a` rules out counts nothing."""
    terms = a.exp() * (a - b)
    return terms.masked_fill(a == -torch.inf, 0).sum(-1, dtype=torch.float64).float()


def compare(first: Reading, other: Reading, divergence: KLMeter) -> Agreement:
    """Two readings of the same tokens."""
    return Agreement(divergence.kl, first.best == other.best, other.losses - first.losses)
