"""Which rows a step reads: a function of the seed and the step alone, so that a run goes on where it stopped."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor


@dataclass
class Order:
    """Rows by a permutation for each epoch, or as they stand; an epoch ends and the next begins within a batch."""

    count: int  # rows
    batch_size: int
    seed: int
    is_shuffled: bool = True
    _epoch: tuple[int, Tensor] | None = field(default=None, repr=False)

    def rows(self, number: int) -> list[int]:
        """The rows of the batch `number`, from 0 on."""
        return [self._row(i) for i in range(number * self.batch_size, (number + 1) * self.batch_size)]

    def _row(self, i: int) -> int:
        epoch, at = divmod(i, self.count)
        if not self.is_shuffled:
            return at
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = epoch, torch.randperm(self.count, generator=generator(self.seed, epoch))
        return int(self._epoch[1][at])


def generator(*numbers: int) -> Generator:
    """Random numbers that depend on these numbers alone."""
    seed = 0
    for number in numbers:
        seed = (seed * 6364136223846793005 + number + 1442695040888963407) % (1 << 63)
    return Generator().manual_seed(seed)
