"""The packed matrices of a checkpoint: of which of their rows and columns each of our weights is made.

What a rank has of a weight is some rows and columns of it, and so some of the packed matrices, in parts of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from zoo.anatomy.records import Shape
from zoo.checkpoint.inspection import Ledger
from zoo.files.gguf_file import GGUFReader
from zoo.files.packed import PackedMatrix, Packing
from zoo.files.packed.cutting import Bounds, cut, of_stack
from zoo.files.packed.gguf_blocks import blocks_of
from zoo.weights.ops import transpose
from zoo.weights.row_maps import RowRun, row_maps
from zoo.weights.table import Step

Slices = tuple[slice, ...]  # of each dimension of a weight


class HeldPiece(NamedTuple):
    """Rows of one packed matrix, or of a part of it, with the tensors that hold it."""

    record: PackedMatrix
    parts: Mapping[str, Tensor]
    run: RowRun
    columns: Bounds  # of the record, which has more only where a part cannot end elsewhere


def packing_of(ledger: Ledger) -> Packing | None:
    """The packed matrices of a checkpoint of any format; None where there are none."""
    checkpoint = ledger.checkpoint
    packing = blocks_of(checkpoint.tensors) if checkpoint.dialect == "gguf" else checkpoint.packing
    return packing if packing is not None and packing.matrices else None


def open_packed(ledger: Ledger, packing: Packing) -> Mapping[str, Tensor]:
    """The parts by their names in the files, mapped."""
    if ledger.checkpoint.dialect != "gguf":
        return ledger.checkpoint.open_parts()
    from zoo.files.open_tensors import OpenTensors

    infos = {info.name: info for matrix in packing.matrices.values() for info in matrix.parts.values()}
    reader = GGUFReader(infos)
    return OpenTensors(infos, reader, reader.close)


def records_of(ledger: Ledger, packing: Packing, step: Step) -> list[PackedMatrix]:
    """The packed ones among what a step reads."""
    found = (packing.matrices.get(ledger.account.actual[name]) for name in step.theirs)
    return [record for record in found if record is not None]


def maps_of(step: Step, records: Sequence[PackedMatrix], shapes: Mapping[str, Shape]) -> list[list[RowRun]] | None:
    """For each of ours the rows that it is made of, as they lie; None where the table moves more than whole rows."""
    theirs, ours, op = [record.shape for record in records], [shapes[name] for name in step.ours], step.op
    if all(record.turned for record in records):
        theirs, op = transpose.our_shapes(theirs), transpose >> op
    is_wide = len({shape[-1] for shape in (*theirs, *ours)}) == 1
    return row_maps(op, theirs, ours) if is_wide else None


def as_they_lie(records: Sequence[PackedMatrix]) -> list[PackedMatrix]:
    """The records whose rows are those of the file."""
    return [record.turned or record for record in records]


def share_of_rows(runs: Sequence[RowRun], shape: Shape, slices: Slices) -> list[RowRun]:
    """Those rows of a weight, or of a stack of them, that a rank has."""
    found = []
    for first, last in _rows(shape, slices):
        start = 0
        for run in runs:
            length = run.last - run.first if run.order is None else len(run.order)
            low, high = max(first - start, 0), min(last - start, length)
            if low < high:
                found.append(_some(run, low, high))
            start += length
    return found


def cut_pieces(
    records: Sequence[PackedMatrix], held: Sequence[Mapping[str, Tensor]], runs: Sequence[RowRun], columns: Bounds
) -> Iterator[HeldPiece]:
    """The parts of the packed matrices that hold some rows and columns, one for each run of rows."""
    for run in runs:
        record, parts = records[run.source], held[run.source]
        if len(record.shape) == 2:
            yield _cut(record, parts, run, columns)
            continue
        height, order = record.shape[-2], torch.arange(run.last - run.first) if run.order is None else run.order
        which = (order + run.first) // height  # of the stack
        for index, count in zip(
            *(t.tolist() for t in torch.unique_consecutive(which, return_counts=True)), strict=True
        ):
            at, order = order[:count] + run.first - index * height, order[count:]
            yield _cut(*of_stack(record, parts, index), _run(run.source, at), columns)


def _cut(record: PackedMatrix, parts: Mapping[str, Tensor], run: RowRun, columns: Bounds) -> HeldPiece:
    found = cut(record, parts, (run.first, run.last), columns)
    return HeldPiece(found.matrix, found.parts, RowRun(0, *found.rows, run.order), found.columns)


def _rows(shape: Shape, slices: Slices) -> Iterator[Bounds]:
    """The rows of a matrix, or of stacked ones counted through, that some slices have."""
    (first, last, _), height = slices[-2].indices(shape[-2]), shape[-2]
    if len(shape) == 2:
        yield first, last
        return
    begin, end, _ = slices[0].indices(shape[0])
    if (first, last) == (0, height):
        yield begin * height, end * height
        return
    yield from ((index * height + first, index * height + last) for index in range(begin, end))


def _some(run: RowRun, low: int, high: int) -> RowRun:
    """The rows of a run from `low` to `high`."""
    if run.order is None:
        return RowRun(run.source, run.first + low, run.first + high, None)
    return _run(run.source, run.order[low:high] + run.first)


def _run(source: int, rows: Tensor) -> RowRun:
    first, last = int(rows.min()), int(rows.max()) + 1
    is_plain = last - first == len(rows) and torch.equal(rows, torch.arange(first, last))
    return RowRun(source, first, last, None if is_plain else rows - first)
