"""Room for a cache that takes no memory before it is written to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

import torch
from torch import Tensor


class Unwritten(NamedTuple):
    """A tensor of zeros that is not there yet."""

    shape: torch.Size
    dtype: torch.dtype
    device: torch.device | str | None

    @property
    def nbytes(self) -> int:
        """Bytes that it would take."""
        return self.shape.numel() * self.dtype.itemsize

    def zeros(self) -> Tensor:
        """The tensor."""
        return torch.zeros(self.shape, dtype=self.dtype, device=self.device)


_waits: ContextVar[bool] = ContextVar("rooms stay unwritten", default=False)


@contextmanager
def unallocated() -> Iterator[None]:
    """Rooms that are made in here are not there before they are written to, or are replaced by others."""
    token = _waits.set(True)
    try:
        yield
    finally:
        _waits.reset(token)


def room(*shape: int, dtype: torch.dtype | None, device: torch.device | str | None) -> Tensor | Unwritten:
    """Zeros, or what stands for them."""
    found = Unwritten(torch.Size(shape), dtype or torch.get_default_dtype(), device)
    return found if _waits.get() else found.zeros()
