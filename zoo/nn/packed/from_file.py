"""Matrices that stay as they lie in a file, of any format that zoo reads: unpacked a band of rows at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.files.packed import PackedMatrix


@dataclass(frozen=True)
class FilePart:
    """Rows of one packed matrix of a file, and by which of the buffers of a layer its parts are held."""

    record: PackedMatrix
    buffers: Mapping[str, str]  # role -> buffer
    rows: tuple[int, int]  # the first and behind the last
    order: Tensor | None = None  # which row of the file, counted from the first, each of ours is; None: in order

    def __len__(self) -> int:
        return self.rows[1] - self.rows[0] if self.order is None else len(self.order)

    def numbers(self, parts: Mapping[str, Tensor], first: int, last: int) -> Tensor:
        """Our rows from `first` to `last`, as the format says."""
        held = {role: parts[name] for role, name in self.buffers.items()}
        start = self.rows[0]
        if self.order is None:
            return self._unpack(held, start + first, start + last)
        order = self.order[first:last]
        low, high = int(order.min()), int(order.max()) + 1  # rows move within their head: this is little more
        return self._unpack(held, start + low, start + high)[order - low]

    def _unpack(self, held: Mapping[str, Tensor], first: int, last: int) -> Tensor:
        """Rows of a matrix, or of stacked ones, which are counted through and unpacked whole."""
        if len(self.record.shape) == 2:
            return self.record.unpack(held, slice(first, last))
        height = self.record.shape[-2]
        start = first // height
        rows = self.record.unpack(held, slice(start, -(-last // height))).flatten(0, -2)
        return rows[first - start * height : last - start * height]


@dataclass(frozen=True)
class OfFile:
    """Rows of packed matrices of a file, one after the other; their parts are mapped, not copied."""

    pieces: tuple[FilePart, ...]

    def dequantise(self, parts: Mapping[str, Tensor], rows: slice) -> Tensor:
        """The numbers of some rows, in the type that the format gives."""
        first, last, _ = rows.indices(sum(map(len, self.pieces)))
        found, start = [], 0
        for piece in self.pieces:
            low, high = max(first - start, 0), min(last - start, len(piece))
            if low < high:
                found.append(piece.numbers(parts, low, high))
            start += len(piece)
        if not found:
            return torch.empty(0, self.pieces[0].record.shape[-1], device=next(iter(parts.values())).device)
        return torch.cat(found) if len(found) > 1 else found[0]

    def ordered(self, parts: dict[str, Tensor]) -> tuple[OfFile, dict[str, Tensor]]:
        """As it is: no kernel knows these."""
        return self, parts

    def takes(self, rows: int, columns: int) -> bool:
        """No kernel knows these."""
        return False

    def kernel(self, parts: Mapping[str, Tensor]) -> None:
        """No kernel knows these."""
