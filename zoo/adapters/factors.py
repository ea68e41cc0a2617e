"""An adapter's factors in zoo's names: what a table does to a matrix, done to the two whose product is added to it.

A table that moves whole rows moves the rows of B and leaves A as it is; one that transposes does so for matrices that
lie on their side, of which peft's factors stand upright already. Where rows of several matrices make up one of ours,
its A is theirs one below the other, and its B theirs along a diagonal.

r rank, I columns of a matrix, O rows, E matrices that lie in one tensor.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from zoo.adapters.file.tensors import FactorPair
from zoo.adapters.fit.settled import AdapterFit, PlacedPair
from zoo.anatomy.records import Shape
from zoo.errors import CheckpointError
from zoo.weights.ops import Op, transpose
from zoo.weights.row_maps import RowRun, row_maps
from zoo.weights.table import Step, foreign_shapes


@dataclass(frozen=True)
class Factors:
    """What is added to one of our weights: scaling * B A, with A [E, r, I] and B [E, O, r].

    `magnitude` [O] are the lengths to which DoRA scales the rows of the sum. An embedding's product is transposed.
    """

    a: Tensor
    b: Tensor
    scaling: float
    magnitude: Tensor | None = None
    is_embedding: bool = False

    @property
    def rank(self) -> int:
        return self.a.shape[1]

    def added(self, weight: Tensor) -> Tensor:
        """The weight with the adapter in it, in the dtype of `weight`, which is that of the factors or wider."""
        delta = self.scaling * (self.b.to(weight.dtype) @ self.a.to(weight.dtype))
        if self.is_embedding:
            return weight + delta[0].mT
        total = weight + delta.reshape(weight.shape)
        if self.magnitude is None:
            return total
        lengths = torch.linalg.vector_norm(total, dim=1, keepdim=True)
        return self.magnitude.to(weight.dtype)[:, None] / lengths * total


def translated(fit: AdapterFit, tensors: Mapping[str, Tensor]) -> dict[str, Factors]:
    """The factors of each of our weights. Raises CheckpointError for one whose table does more than move rows."""
    found: dict[str, Factors] = {}
    steps: dict[tuple[str, ...], tuple[Step, dict[int, PlacedPair]]] = {}
    for placed in fit.pairs:
        _, group = steps.setdefault(placed.step.ours, (placed.step, {}))
        group[placed.step.theirs.index(placed.name)] = placed
    for step, group in steps.values():
        read = {i: _read(placed, tensors) for i, placed in group.items()}
        found |= through(step, read, fit.base.shapes, str(fit.adapter.path))
    return found


def _read(placed: PlacedPair, tensors: Mapping[str, Tensor]) -> Factors:
    """The factors of a foreign tensor; of a stack, as peft lays them out: experts in rows of A, in columns of B."""
    pair: FactorPair = placed.pair
    for info in pair.parts.values():
        if not bool(torch.isfinite(tensors[info.name]).all()):
            raise CheckpointError(info.file, info.name, "contains NaN or infinity")
    a, b = tensors[pair.a.name], tensors[pair.b.name]
    a = a.unflatten(0, (placed.count, placed.rank))
    b = b.unflatten(1, (placed.rank, placed.count)).permute(2, 0, 1)
    if lies(placed.name):
        a, b = b.mT, a.mT
    magnitude = pair.parts.get("magnitude")
    return Factors(
        a, b, placed.scaling, None if magnitude is None else tensors[magnitude.name].flatten(), pair.is_embedding
    )


STACKS_THAT_LIE = ".feed_forward.experts.gate_up_proj", ".feed_forward.experts.down_proj"


def lies(name: str) -> bool:
    """Whether peft takes a stack of matrices as it lies, [E, in, out]: Llama 4's, which transformers does not mark.

    Its factors are then those of the transposed product. Others that lie (gpt-oss's) are marked, and peft turns them.
    """
    return name.endswith(STACKS_THAT_LIE)


def through(step: Step, read: Mapping[int, Factors], shapes: Mapping[str, Shape], file: str) -> dict[str, Factors]:
    """Ours, from those of foreign tensors by their number in the step, of which some may have none."""
    theirs, ours = [*foreign_shapes(step, shapes).values()], [shapes[name] for name in step.ours]
    if any(factors.is_embedding for factors in read.values()):
        if theirs != ours or len(ours) > 1:
            raise CheckpointError(file, step.theirs[0], "zoo does not adapt an embedding that its table changes")
        return {step.ours[0]: read[0]}
    upright, sideways = [_flipped(shape) for shape in theirs], [_flipped(shape) for shape in ours]
    for op, before, after in (
        (step.op, theirs, ours),
        (transpose >> step.op, upright, ours),
        (step.op >> transpose, theirs, sideways),  # of a table read backwards
    ):
        if all(_stands(factors, before[i]) for i, factors in read.items()):
            maps = _maps(op, before, after)
            if maps is not None:
                return _moved(step, read, before, after, maps)
    what = f"its table ({step.op}) does more than move rows, which cannot be done to the two factors of an adapter"
    raise CheckpointError(file, step.theirs[0], what)


def _maps(op: Op, theirs: Sequence[Shape], ours: Sequence[Shape]) -> list[list[RowRun]] | None:
    is_wide = len({shape[-1] for shape in (*theirs, *ours)}) == 1
    return row_maps(op, theirs, ours) if is_wide and all(len(s) in (2, 3) for s in (*theirs, *ours)) else None


def _flipped(shape: Shape) -> Shape:
    return (*shape[:-2], shape[-1], shape[-2]) if len(shape) > 1 else shape


def _stands(factors: Factors, shape: Shape) -> bool:
    count, n_out, n_in = shape if len(shape) == 3 else (1, *shape)
    return factors.a.shape[::2] == (count, n_in) and factors.b.shape[:2] == (count, n_out)


@dataclass(frozen=True)
class _Rows:
    """Rows of one foreign matrix in a matrix of ours."""

    source: tuple[int, int]  # the tensor, and the matrix in it
    rows: Tensor
    start: int  # where they begin in ours


def _moved(
    step: Step, read: Mapping[int, Factors], theirs: Sequence[Shape], ours: Sequence[Shape], maps: list[list[RowRun]]
) -> dict[str, Factors]:
    found = {}
    for name, shape, pieces in zip(step.ours, ours, maps, strict=True):
        if not any(piece.source in read for piece in pieces):
            continue
        scalings = {read[piece.source].scaling for piece in pieces if piece.source in read}
        is_even = len(scalings) == 1
        matrices = [_built(part, read, shape, is_even) for part in _by_matrix(pieces, theirs, shape)]
        rank = max(a.shape[0] for a, _, _ in matrices)
        a = torch.stack([torch.nn.functional.pad(a, (0, 0, 0, rank - a.shape[0])) for a, _, _ in matrices])
        b = torch.stack([torch.nn.functional.pad(b, (0, rank - b.shape[1])) for _, b, _ in matrices])
        found[name] = Factors(a, b, scalings.pop() if is_even else 1.0, matrices[0][2])
    return found


def _by_matrix(pieces: Iterable[RowRun], theirs: Sequence[Shape], ours: Shape) -> list[list[_Rows]]:
    """For each matrix of ours the runs of foreign rows, no run of more than one foreign matrix."""
    height = ours[-2]
    parts: list[list[_Rows]] = [[] for _ in range(ours[0] if len(ours) == 3 else 1)]
    at = 0
    for piece in pieces:
        rows = torch.arange(piece.first, piece.last) if piece.order is None else piece.first + piece.order
        tall = theirs[piece.source][-2]
        keys = torch.stack((rows // tall, torch.arange(at, at + len(rows)) // height))
        _, counts = torch.unique_consecutive(keys, dim=1, return_counts=True)
        for run in rows.split(counts.tolist()):
            place = _Rows((piece.source, int(run[0]) // tall), run % tall, at % height)
            parts[at // height].append(place)
            at += len(run)
    return parts


def _built(
    part: Sequence[_Rows], read: Mapping[int, Factors], shape: Shape, is_even: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """A [r, I], B [O, r] and the magnitude of one matrix of ours; where scalings differ, they are in B."""
    some = next(iter(read.values()))
    starts: dict[tuple[int, int], int] = {}
    lefts: list[Tensor] = []
    for tensor, matrix in dict.fromkeys(run.source for run in part):
        if tensor in read:
            starts[tensor, matrix] = sum(len(a) for a in lefts)
            lefts.append(read[tensor].a[matrix])
    if not lefts:
        return some.a.new_zeros(0, shape[-1]), some.b.new_zeros(shape[-2], 0), None
    same = _same(lefts)
    a = lefts[0] if same else torch.cat(lefts)
    b = a.new_zeros(shape[-2], a.shape[0])
    magnitude = None if some.magnitude is None else a.new_zeros(shape[-2])
    for run in part:
        if run.source not in starts:
            continue
        factors = read[run.source[0]]
        low = 0 if same else starts[run.source]
        rows = factors.b[run.source[1]][run.rows] * (1.0 if is_even else factors.scaling)
        b[run.start : run.start + len(rows), low : low + rows.shape[1]] = rows
        if magnitude is not None and factors.magnitude is not None:
            magnitude[run.start : run.start + len(rows)] = factors.magnitude[run.rows]
    return a, b, magnitude


def _same(lefts: Sequence[Tensor]) -> bool:
    """Whether all A are one: those that a table once cut from one matrix share it."""
    return all(a.shape == lefts[0].shape and (a is lefts[0] or torch.equal(a, lefts[0])) for a in lefts)


def in_dtype(factors: Factors, dtype: torch.dtype, device: torch.device) -> Factors:
    """The same numbers as a model computes with them."""
    magnitude = None if factors.magnitude is None else factors.magnitude.to(device, dtype)
    return replace(factors, a=factors.a.to(device, dtype), b=factors.b.to(device, dtype), magnitude=magnitude)
