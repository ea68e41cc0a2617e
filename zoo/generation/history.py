"""What every row of a batch holds so far, as one tensor: what processors of scores look at.

Shapes: R rows, T tokens of the longest row.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

import torch
from torch import Tensor

NOTHING = -1  # stands left of shorter rows; no token has this number


class History:
    """Prompts and what was added to them; all rows grow by one token at a time."""

    def __init__(
        self, prompts: Sequence[Sequence[int]], limits: Sequence[int], device: torch.device | str = "cpu"
    ) -> None:
        self.prompt_lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
        self.limits = torch.tensor(list(limits), device=device)  # tokens that may be added to each row
        self.num_new = 0
        self._start = max(map(len, prompts))
        self._most = max(limits)
        self._held = rows_of(prompts, device)  # with room to the right that grows with the text

    @property
    def tokens(self) -> Tensor:
        """Prompts and additions [R, T], NOTHING where a row is shorter."""
        return self._held[:, : self._start + self.num_new]

    @property
    def added(self) -> Tensor:
        """What was generated, [R, num_new]."""
        return self._held[:, self._start : self._start + self.num_new]

    @property
    def lengths(self) -> Tensor:
        """Tokens of each row, [R]."""
        return self.prompt_lengths + self.num_new

    def append(self, tokens: Tensor) -> None:
        """Add the next token of every row, [R]."""
        if self.num_new == self._most:  # what is fed on after the end of all rows
            return
        end = self._start + self.num_new
        if end == self._held.shape[1]:
            room = min(max(32, self.num_new), self._most - self.num_new)
            self._held = torch.nn.functional.pad(self._held, (0, room), value=NOTHING)
        self._held[:, end] = tokens
        self.num_new += 1

    def part(self, index: Tensor) -> History:
        """Some of the rows, by themselves."""
        part = copy(self)
        part.reorder(index)
        return part

    def reorder(self, index: Tensor) -> None:
        """Keep row index[r] as row r."""
        self._held, self.prompt_lengths = self._held[index], self.prompt_lengths[index]
        self.limits = self.limits[index]


def rows_of(prompts: Sequence[Sequence[int]], device: torch.device | str) -> Tensor:
    """Rows [R, T] of token ids, NOTHING left of the shorter ones."""
    width = max(map(len, prompts))
    return torch.tensor([[NOTHING] * (width - len(row)) + list(row) for row in prompts], device=device)
