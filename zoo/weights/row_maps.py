"""What a table's operation does to the rows of matrices, found by trying it on their numbers.

A packed matrix can be cut, joined and reordered by rows, and by nothing else. Whether an operation does no more than
that, it says itself: it is given matrices whose elements are the numbers of their rows, three columns wide.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

from zoo.anatomy.records import Shape
from zoo.weights.ops import Op

COLUMNS = 3
MOST_PIECES = 4096


class RowRun(NamedTuple):
    """Rows of one foreign matrix: the first, the one behind the last, and their order where it is not theirs."""

    source: int
    first: int
    last: int
    order: Tensor | None


def row_maps(op: Op, theirs: Sequence[Shape], ours: Sequence[Shape]) -> list[list[RowRun]] | None:
    """For each of ours the pieces that it is made of, one after the other; None where `op` moves more than rows."""
    heights = [prod(shape[:-1]) for shape in theirs]
    starts = [sum(heights[:i]) for i in range(len(heights) + 1)]
    numbered = [
        (torch.arange(start * COLUMNS, (start + height) * COLUMNS)).reshape(*shape[:-1], COLUMNS)
        for start, height, shape in zip(starts, heights, theirs, strict=False)
    ]
    try:
        out = op.load(numbered)
    except (RuntimeError, IndexError, ValueError):
        return None
    if len(out) != len(ours):
        return None
    maps = []
    for tensor, shape in zip(out, ours, strict=True):
        rows = _rows(tensor, shape)
        pieces = None if rows is None else _pieces(rows, starts)
        if pieces is None or len(pieces) > MOST_PIECES:
            return None
        maps.append(pieces)
    return maps


def _rows(tensor: Tensor, shape: Shape) -> Tensor | None:
    """The number of each row of ours, where whole rows were moved."""
    if tuple(tensor.shape) != (*shape[:-1], COLUMNS):
        return None
    flat = tensor.reshape(-1, COLUMNS)
    first = flat[:, :1]
    is_whole = torch.equal(flat, first + torch.arange(COLUMNS)) and bool((first % COLUMNS == 0).all())
    return first[:, 0] // COLUMNS if is_whole else None


def _pieces(rows: Tensor, starts: list[int]) -> list[RowRun]:
    """Runs of rows that come from the same matrix."""
    if not len(rows):
        return []
    owner = torch.bucketize(rows, torch.tensor(starts[1:]), right=True)
    found, at = [], 0
    for source, count in zip(*(t.tolist() for t in torch.unique_consecutive(owner, return_counts=True)), strict=True):
        local = rows[at : at + count] - starts[source]
        low, high = int(local.min()), int(local.max()) + 1
        is_plain = high - low == count and torch.equal(local, torch.arange(low, high))
        found.append(RowRun(source, low, high, None if is_plain else local - low))
        at += count
    return found
