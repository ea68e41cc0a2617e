"""What one forward pass reads, and what it predicts.

Shapes: B rows, T tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, field, replace
from typing import Protocol, Self

import torch
from torch import Generator, Tensor, nn

from zoo.training.losses import IGNORED

Facts = dict[str, Tensor]  # beside the loss: sums over the batch, which a record gives by the weight


@dataclass(frozen=True)
class Microbatch:
    """Arguments of the model, labels, and how much of the update's mean it stands for."""

    args: tuple[Tensor, ...]
    labels: Tensor
    weight: int  # labels, pairs or answers
    num_tokens: int  # that are read, padding left out
    kwargs: Mapping[str, Tensor] = field(default_factory=dict)
    extra: Mapping[str, Tensor] = field(default_factory=dict)  # what the loss reads beside the labels
    is_drawn: bool = False  # which labels it has was drawn: there may be none, and then nothing is learnt from it
    blocks: int = 1  # of equal length, one behind the other: the rows at one place of each belong together

    def to(self, device: torch.device) -> Self:
        """The same on a device."""
        moved = {
            name: {key: value.to(device) for key, value in getattr(self, name).items()} for name in ("kwargs", "extra")
        }
        return replace(self, args=tuple(a.to(device) for a in self.args), labels=self.labels.to(device), **moved)


class Objective(Protocol):
    """Rows, how they become batches, and a loss."""

    @property
    def rows(self) -> Sized:
        """The rows of its data."""
        ...

    @property
    def fingerprint(self) -> str:
        """Tells whether two runs read the same data."""
        ...

    def batch(self, model: nn.Module, rows: Sequence[int], generator: Generator) -> Microbatch:
        """The batch of these rows; what is drawn comes from `generator`."""
        ...

    def loss(self, model: nn.Module, batch: Microbatch, total: int) -> tuple[Tensor, Facts]:
        """The batch's share of the mean over `total` labels, pairs or answers, and what else is told of it."""
        ...


def padded(rows: Sequence[Sequence[int] | Tensor], value: int) -> Tensor:
    """Rows of different lengths as [B, T], with `value` behind the short ones."""
    tensors = [torch.as_tensor(row, dtype=torch.long) for row in rows]
    return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=value)


def token_batch(
    tokens: Sequence[Tensor], labels: Sequence[Tensor], documents: Sequence[Tensor] | None = None, *, pad: int = 0
) -> Microbatch:
    """The batch of rows of tokens and labels; a mask goes along where rows are padded or hold several documents."""
    lengths = [len(row) for row in tokens]
    kwargs = {}
    if documents is not None and any(int(row.max()) > 1 for row in documents):
        kwargs["attention_mask"] = padded(documents, 0)
    elif min(lengths) < max(lengths):
        kwargs["attention_mask"] = padded([torch.ones(n) for n in lengths], 0).bool()
    wanted = padded(labels, IGNORED)
    return Microbatch((padded(tokens, pad),), wanted, int((wanted != IGNORED).sum()), sum(lengths), kwargs)
