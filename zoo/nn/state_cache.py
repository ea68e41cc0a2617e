"""A state of fixed size in place of keys and values.

Shapes: B batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Self

import torch
from torch import Tensor

from zoo.errors import UsageError


class StateCache:
    """A state of fixed size that every token changes: tensors [B, ...] by name, in a layer that never looks back.

    `state["conv"]` is read and replaced by the layer. Padding must leave a row's state as it is.
    """

    can_rewind = False

    def __init__(self, **state: Tensor) -> None:
        self.state = state

    def __getitem__(self, name: str) -> Tensor:
        return self.state[name]

    def __setitem__(self, name: str, value: Tensor) -> None:
        self.state[name] = value

    @property
    def nbytes(self) -> int:
        return sum(tensor.nbytes for tensor in self.state.values())

    def reorder(self, index: Tensor) -> None:
        self.state = {name: tensor[index] for name, tensor in self.state.items()}

    def joined(self, others: Sequence[Self], index: Sequence[int], num_slots: int, used: int) -> Self:
        """See `Cache.joined`."""
        whole = copy(self)
        whole.state = {name: torch.cat([c.state[name] for c in (self, *others)])[[*index]] for name in self.state}
        return whole

    def rewind(self, length: int, before: int) -> None:
        if length == 0:
            self.state = {name: torch.zeros_like(tensor) for name, tensor in self.state.items()}
        elif length != before:
            raise UsageError(
                f"a state that has read {before} tokens cannot be rewound to {length}: a state keeps only their sum",
                hint="generate without draft=",
            )
