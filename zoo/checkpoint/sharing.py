"""What one of several ranks has of the weights of a step, read without the rest of them where that can be."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from zoo.anatomy.records import Shape
from zoo.checkpoint.inspection import Ledger
from zoo.checkpoint.pieces import (
    HeldPiece,
    Slices,
    as_they_lie,
    cut_pieces,
    maps_of,
    open_packed,
    packing_of,
    records_of,
    share_of_rows,
)
from zoo.files.packed import PackedMatrix
from zoo.files.packed.cutting import can_cut
from zoo.nn.packed import FilePart
from zoo.parallel.borders import shape_of
from zoo.weights.table import Step

if TYPE_CHECKING:
    from zoo.parallel.plans import RankPlan


class ShareReader:
    """Reads a rank's share of weights: of packed ones some rows and columns, of others some matrices of a stack.

    Of what a table moves otherwise the whole is read and made, then cut: one step of it at a time. Of `wide` weights
    all columns are given: what they are rounded to hangs on them.
    """

    def __init__(self, ledger: Ledger, tensors: Mapping[str, Tensor], plan: RankPlan, wide: Collection[str]) -> None:
        self.ledger, self.tensors, self.plan, self.wide = ledger, tensors, plan, wide
        self.packing = packing_of(ledger)
        self.raw = None if self.packing is None else open_packed(ledger, self.packing)

    def read(self, step: Step, narrowed: Step) -> Sequence[Tensor]:
        """The shares of the weights of a step, of which `narrowed` reads whole tensors of a stack that a rank has."""
        shapes = [self.ledger.shapes[name] for name in step.ours]
        slices = [self._slices(name, shape) for name, shape in zip(step.ours, shapes, strict=True)]
        if not any(_is_cut(mine, shape) for mine, shape in zip(slices, shapes, strict=True)):
            return step.op.load(self._theirs(step))
        firsts = {mine[0].indices(shape[0])[:2] for mine, shape in zip(slices, shapes, strict=True)}
        records = [] if self.packing is None else records_of(self.ledger, self.packing, step)
        is_stacked = step.op.keeps_first and len(firsts) == 1 and all(len(shape) > 2 for shape in shapes)
        is_stacked &= all(len(record.shape) > 2 for record in records)  # of llama.cpp's the rows of all are counted
        if is_stacked and (first := firsts.pop()) != (0, shapes[0][0]):
            made = step.op.load([self._some(name, slice(*first)) for name in step.theirs])
        elif (found := self._unpacked(step, records, slices)) is not None:
            return found
        elif narrowed is not step:
            made = narrowed.op.load(self._theirs(narrowed))
        else:
            return [whole[mine] for whole, mine in zip(step.op.load(self._theirs(step)), slices, strict=True)]
        return [some[(slice(None), *mine[1:])] for some, mine in zip(made, slices, strict=True)]

    def _some(self, name: str, first: slice) -> Tensor:
        """Some matrices of a stack, of a packed one unpacked."""
        actual = self.ledger.account.actual[name]
        record = None if self.packing is None else self.packing.matrices.get(actual)
        if record is None or self.raw is None:
            return self.tensors[actual][first]
        return record.unpack({role: self.raw[info.name] for role, info in record.parts.items()}, first)

    def _theirs(self, step: Step) -> list[Tensor]:
        return [self.tensors[self.ledger.account.actual[name]] for name in step.theirs]

    def _slices(self, name: str, shape: Shape) -> Slices:
        slices = self.plan.slices(name, shape)
        return (*slices[:-1], slice(None)) if name in self.wide else slices

    def _unpacked(self, step: Step, records: list[PackedMatrix], slices: list[Slices]) -> list[Tensor] | None:
        """The numbers of packed rows and columns; None where the table, or the format, knows nothing of these."""
        if self.raw is None or len(records) < len(step.theirs) or not all(map(can_cut, records)):
            return None
        if (maps := maps_of(step, records, self.ledger.shapes)) is None:
            return None
        records, raw, found = as_they_lie(records), self.raw, []
        held = [_Parts({role: info.name for role, info in record.parts.items()}, raw) for record in records]
        for name, mine, runs in zip(step.ours, slices, maps, strict=True):
            shape = self.ledger.shapes[name]
            runs, columns = share_of_rows(runs, shape, mine), mine[-1].indices(shape[-1])[:2]
            numbers = [_numbers(piece) for piece in cut_pieces(records, held, runs, columns)]
            whole = torch.cat(numbers) if numbers else torch.empty(0, columns[1] - columns[0])
            found.append(whole.reshape(shape_of(mine, shape)))
        return found


class _Parts(Mapping[str, Tensor]):
    """The tensors of a packed matrix by their roles, each opened when it is asked for."""

    def __init__(self, names: Mapping[str, str], raw: Mapping[str, Tensor]) -> None:
        self._names, self._raw = names, raw

    def __getitem__(self, role: str) -> Tensor:
        return self._raw[self._names[role]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _numbers(piece: HeldPiece) -> Tensor:
    """What the rows and columns of a piece stand for."""
    record, parts, run, (first, last) = piece
    part = FilePart(record, {role: role for role in parts}, (run.first, run.last), run.order)
    return part.numbers(parts, 0, len(part))[:, first:last]


def _is_cut(slices: Slices, shape: Shape) -> bool:
    return shape_of(slices, shape) != shape
