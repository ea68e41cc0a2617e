"""A proof that a table loses nothing: tensors whose every element is another number go there and back.

Every step of a table is taken by itself, on 32-bit integers counted from 0, so that memory is bounded by its largest
step. Plain renames move whole tensors and need no numbers. A step beyond MAX_ELEMENTS is proven on a slice, its last
dimension cut short, where its op does not look at that dimension.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.anatomy.records import Shape
from zoo.files.tensor_info import TensorInfo
from zoo.weights.account import settle
from zoo.weights.nesting import NestedTable
from zoo.weights.ops import Op, same
from zoo.weights.table import Step, Table, foreign_shapes

if TYPE_CHECKING:
    from torch import Tensor

MAX_ELEMENTS = 1 << 26  # numbers of a step that are all tried: 256 MiB of int32
SLICE = 3  # columns that are kept of a larger one


@dataclass
class Proof:
    """What was tried, and everything that speaks against the table; nothing does if it is a bijection."""

    tensors: int = 0  # of ours
    foreign: int = 0
    elements: int = 0  # numbers that have one place on each side
    moved: int = 0  # tensors that an op changes
    sliced: int = 0  # steps that were tried on a slice
    left_out: int = 0  # of their numbers, where ours is a model inside a larger one
    faults: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return not self.faults

    def __str__(self) -> str:
        cut = f", {self.sliced} of the largest on slices" if self.sliced else ""
        if self.left_out:
            cut += f"; {self.left_out:,} of their numbers are left out"
        return (
            f"{self.foreign:,} tensors ↔ {self.tensors:,} of ours, {self.elements:,} numbers, each to one place and "
            f"back; {self.moved:,} tensors change their layout{cut}"
        )

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "holds": self.holds}


def prove(table: Table, shapes: Mapping[str, Shape], present: Sequence[str] | None = None) -> Proof:
    """Whether `table` is a bijection between weights of these shapes and foreign tensors, in both directions.

    `present` are the foreign tensors of a file, by which the table chooses among rules that read the same weight.
    """
    if isinstance(table, NestedTable):
        return _prove_nested(table, shapes, present)
    steps, orphans = table.plan(shapes, present)
    proof = Proof(faults=[f"no rule gives {name}" for name in orphans])
    written: dict[str, Shape] = {}
    for step in steps:
        proof.faults += [f"{name} would be written twice" for name in step.theirs if name in written]
        written |= foreign_shapes(step, shapes)
        _prove_step(proof, step, shapes)
    proof.tensors, proof.foreign = sum(len(step.ours) for step in steps), len(written)
    if not proof.faults and present is None:
        proof.faults += _unsettled(table, shapes, written)
    return proof


def _prove_nested(table: NestedTable, shapes: Mapping[str, Shape], present: Sequence[str] | None) -> Proof:
    """The larger model's table, and that each of our weights is numbers of its tensor in their order, none twice."""
    import torch

    proof = prove(table.table, table.whole_shapes, present)
    steps, orphans = table.plan(shapes, present)
    proof.faults += [f"no rule gives {name}" for name in orphans]
    for name, shape in shapes.items():
        if (some := table.runs_of(name)) is None:
            continue
        line = [1] * len(shape)
        line[some.dim] = some.size
        kept = some.take(torch.arange(some.size).reshape(line)).flatten()
        if len(kept) != shape[some.dim] or not bool((kept.diff() > 0).all()):
            proof.faults.append(f"{name}: {some} are not {shape[some.dim]} of them in order")
        proof.moved += 1
    proof.left_out = proof.elements - sum(map(prod, shapes.values()))
    proof.elements -= proof.left_out
    proof.tensors, proof.foreign = len(shapes), sum(len(step.theirs) for step in steps)
    return proof


def _prove_step(proof: Proof, step: Step, shapes: Mapping[str, Shape]) -> None:
    """Count what the step carries, and note what is wrong with it."""
    sizes = [shapes[name] for name in step.ours]
    total = sum(map(prod, sizes))
    if step.op is same and len(step.ours) == len(step.theirs) == 1:
        proof.elements += total
        return
    proof.moved += len(step.ours)
    if total > MAX_ELEMENTS:
        if (cut := _sliced(step.op, sizes)) is None:
            proof.faults.append(
                f"{', '.join(step.ours)}: {total:,} numbers are too many to try, and cannot be cut into parts"
            )
            return
        sizes, proof.sliced = cut, proof.sliced + 1
    try:
        ours = _numbered(sizes)
        faults = _faults(step, ours, step.op.dump(ours), sizes)
    except (RuntimeError, IndexError, ValueError) as error:
        faults = [f"{step}: {str(error).splitlines()[0]}"]
    proof.faults += faults
    proof.elements += 0 if faults else total


def _sliced(op: Op, sizes: Sequence[Shape]) -> list[Shape] | None:
    """The same tensors with a short last dimension, if the op's foreign shapes become short in the same way."""
    cut: list[Shape] = [(*shape[:-1], SLICE) for shape in sizes]
    full, short = op.shapes(sizes), op.shapes(cut)
    is_kept = all(a[:-1] == b[:-1] and b[-1:] == (SLICE,) for a, b in zip(full, short, strict=True))
    return cut if is_kept and all(len(shape) > 1 for shape in sizes) else None


def _numbered(sizes: Sequence[Shape]) -> list[Tensor]:
    import torch

    tensors, start = [], 0
    for shape in sizes:
        tensors.append(torch.arange(start, start + prod(shape), dtype=torch.int32).reshape(shape))
        start += prod(shape)
    return tensors


def _faults(step: Step, ours: Sequence[Tensor], theirs: Sequence[Tensor], sizes: Sequence[Shape]) -> list[str]:
    import torch

    if len(theirs) != len(step.theirs):
        return [f"{', '.join(step.ours)}: {len(theirs)} tensors for {len(step.theirs)} names"]
    found = [
        f"{name} is {list(tensor.shape)}, the table says {list(shape)}"
        for name, tensor, shape in zip(step.theirs, theirs, step.op.shapes(sizes), strict=True)
        if tuple(tensor.shape) != shape
    ]
    back = step.op.load(list(theirs))
    found += [
        f"{name} is not restored from {', '.join(step.theirs)}"
        for name, before, after in zip(step.ours, ours, back, strict=True)
        if not torch.equal(before, after)
    ]
    # A whole tensor may be stored twice (a tied head that the format wants as well); no number within one may.
    distinct: list[Tensor] = []
    for tensor in theirs:
        if not any(torch.equal(tensor, other) for other in distinct):
            distinct.append(tensor)
    numbers = torch.cat([tensor.flatten() for tensor in distinct])
    wanted = sum(map(prod, sizes))
    kept = len(numbers.unique())
    if kept != len(numbers) and not step.op.repeats:
        found.append(f"{', '.join(step.theirs)} repeat {len(numbers) - kept} of their numbers")
    if kept != wanted:
        found.append(f"of the {wanted} numbers in {', '.join(step.ours)}, {kept} are written")
    if step.op.repeats:  # the other way round something is left out, and what comes back is checked above
        return found
    return found or _foreign_faults(step, theirs, is_doubled=len(distinct) < len(theirs))


def _foreign_faults(step: Step, like: Sequence[Tensor], *, is_doubled: bool) -> list[str]:
    """The other direction by itself: foreign tensors with numbers of their own, to ours and back."""
    import torch

    if is_doubled:
        return []  # two copies must agree, and have been shown to
    theirs = _numbered([tuple(tensor.shape) for tensor in like])
    back = step.op.dump(step.op.load(theirs))
    return [
        f"{name} is not restored from {', '.join(step.ours)}"
        for name, before, after in zip(step.theirs, theirs, back, strict=True)
        if not torch.equal(before, after)
    ]


def _unsettled(table: Table, shapes: Mapping[str, Shape], written: Mapping[str, Shape]) -> list[str]:
    """What a ledger says against the tensors that the table itself would write."""
    infos = {name: TensorInfo(name, "float32", s, Path("proof"), 4 * prod(s), None) for name, s in written.items()}
    return [" ".join(problem).strip() for problem in settle(table, shapes, infos).problems()]
