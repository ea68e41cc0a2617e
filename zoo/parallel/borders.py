"""Where the parts of packed matrices may end: on the borders of groups, or nothing is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from zoo.anatomy.quantisation import Quantisation
from zoo.anatomy.records import Shape
from zoo.errors import UsageError
from zoo.files.packed import PackedMatrix
from zoo.files.packed.cutting import border, can_cut
from zoo.parallel.shares import Need
from zoo.weights.table import Step

if TYPE_CHECKING:
    from zoo.parallel.plans import RankPlan


def check_borders(
    plan: RankPlan, steps: Iterable[tuple[Step, Sequence[PackedMatrix]]], shapes: Mapping[str, Shape]
) -> None:
    """Raise UsageError, with the sizes that work, where a rank's columns of packed matrices end within a group."""
    plan.check(_needs_of_files(plan, steps, shapes))


def check_rounding(plan: RankPlan, how: Quantisation, shapes: Mapping[str, Shape]) -> None:
    """The same of matrices that are rounded as they come, by their names."""
    each = how.group or 1
    plan.check(_need(name, shape, each) for name, shape in sorted(shapes.items()) if _is_cut(plan, name, shape, -1))


def shape_of(slices: Sequence[slice], shape: Shape) -> Shape:
    """The shape of what some slices have of a weight."""
    return tuple(len(range(*found.indices(size))) for found, size in zip(slices, shape, strict=True))


def _needs_of_files(
    plan: RankPlan, steps: Iterable[tuple[Step, Sequence[PackedMatrix]]], shapes: Mapping[str, Shape]
) -> Iterator[Need]:
    for step, records in steps:
        for name in step.ours:
            if not any(_is_cut(plan, name, shapes[name], dim) for dim in range(len(shapes[name]))):
                continue
            for record in records:
                if not can_cut(record):
                    what = (
                        f"{name} cannot be cut while it is packed: blocks of {record.encoding.words}, run across rows"
                    )
                    raise UsageError(what, hint="without keep_packed each rank unpacks it and keeps its share")
                if _is_cut(plan, name, shapes[name], -1):
                    yield _need(name, shapes[name], border(record))


def _is_cut(plan: RankPlan, name: str, shape: Shape, dim: int) -> bool:
    return plan.slices(name, shape)[dim].indices(shape[dim]) != (0, shape[dim], 1)


def _need(name: str, shape: Shape, each: int) -> Need:
    """So many groups of columns stay whole; where the last is not full, all of them."""
    told = f"{name} in groups of {each} columns"
    return Need(told, 1 if shape[-1] % each else shape[-1] // each, can_repeat=False)
