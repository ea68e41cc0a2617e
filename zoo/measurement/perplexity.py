"""How well a model predicts a text: nats per token, perplexity and bits per byte.

Shapes: B batch, T tokens of a window, k of them scored, V vocab, n tokens scored in all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from zoo.errors import ZooError
from zoo.measurement.passages import Passage, Window, check_window, windows
from zoo.progress import progress

LARGEST = 2**25  # logits that are held at once, beyond one window's: 128 MiB in float32
ROWS = 256  # positions whose distribution is worked out at once

Take = Callable[[int, Tensor], None]  # (index of the first scored token, log probabilities [k, V])


@dataclass(frozen=True)
class Reading:
    """One text read by one model; the tensors are on the CPU."""

    passage: Passage
    window: int  # tokens that the model sees at once
    stride: int  # tokens from one window to the next
    losses: Tensor  # [n] nats, float32
    best: Tensor  # [n] the likeliest token

    @property
    def nats(self) -> float:
        """The loss of the whole text."""
        return self.losses.sum(dtype=torch.float64).item()

    @property
    def loss(self) -> float:
        """Nats per token."""
        return self.nats / self.passage.num_scored

    @property
    def perplexity(self) -> float:
        """Per token: how many equally likely tokens would be as hard to tell apart."""
        return math.exp(min(self.loss, 700.0))  # beyond that no float holds it

    @property
    def bits_per_byte(self) -> float:
        """The same whatever the vocabulary."""
        return self.nats / math.log(2) / self.passage.num_bytes

    @property
    def accuracy(self) -> float:
        """Share of tokens that were the likeliest."""
        return (self.best == self._targets).double().mean().item()

    @property
    def _targets(self) -> Tensor:
        return torch.tensor(self.passage.ids[self.passage.first :])

    def to_dict(self) -> dict[str, Any]:
        """The figures and how they were come by, as JSON values."""
        return {
            "tokens": self.passage.num_scored,
            "bytes": self.passage.num_bytes,
            "loss": self.loss,
            "perplexity": self.perplexity,
            "bits_per_byte": self.bits_per_byte,
            "accuracy": self.accuracy,
            "window": self.window,
            "stride": self.stride,
            "begins_with": "bos" if self.passage.has_bos else "its first token, which is not predicted",
        }


def read(model: Any, passage: Passage, *, window: int, stride: int | None = None, take: Take | None = None) -> Reading:
    """The loss of every token of `passage`; `take` is handed the distributions as they come, in order.

    Raises ZooError where a loss is not a number, and UsageError for windows that cannot be.
    """
    stride = window if stride is None else stride
    check_window(window, stride, passage)
    losses, best = torch.empty(passage.num_scored), torch.empty(passage.num_scored, dtype=torch.long)
    with progress("read the text", passage.num_scored, "tokens") as advance:
        for start, log_probs, targets in predictions(model, passage, window=window, stride=stride):
            rows = slice(start, start + len(targets))
            losses[rows] = -log_probs.gather(1, targets[:, None])[:, 0].float().cpu()
            best[rows] = log_probs.argmax(-1).cpu()
            if take is not None:
                take(start, log_probs)
            advance(len(targets))
    if not torch.isfinite(losses).all():
        where = int((~torch.isfinite(losses)).nonzero()[0])
        why = "the weights are damaged, or their numbers overflow in this dtype"
        raise ZooError(f"the loss of token {where} is {losses[where].item()}", why=why, hint="try --dtype float32")
    return Reading(passage, window, stride, losses, best)


@torch.inference_mode()
def predictions(model: Any, passage: Passage, *, window: int, stride: int) -> Iterator[tuple[int, Tensor, Tensor]]:
    """(index of the first scored token, log probabilities [k, V], the tokens that came [k]), all in order.

    The softmax is taken in float32 whatever the model's dtype, in float64 if that is float64.
    """
    first = next(model.parameters())
    ids = torch.tensor(passage.ids, device=first.device)
    dtype = torch.promote_types(first.dtype, torch.float32)
    most = max(1, LARGEST // (window * model.config.vocab_size))
    for batch in batches(windows(passage, window, stride), most):
        inputs = torch.stack([ids[w.start : w.end] for w in batch])  # [B, T]
        for w, logits in zip(batch, model(inputs), strict=True):
            for row in range(w.scored, w.end, ROWS):
                end = min(row + ROWS, w.end)
                log_probs = logits[row - w.start : end - w.start].to(dtype).log_softmax(-1)  # [k, V]
                yield row + 1 - passage.first, log_probs, ids[row + 1 : end + 1]


def batches(found: Iterator[Window], most: int) -> Iterator[list[Window]]:
    """Neighbouring windows of one length, at most `most` together."""
    for _, alike in groupby(found, key=lambda w: w.end - w.start):
        held: list[Window] = []
        for w in alike:
            held.append(w)
            if len(held) == most:
                yield held
                held = []
        if held:
            yield held
