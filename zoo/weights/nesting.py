"""The table of a model inside a larger one: the larger one's, each of whose tensors gives all of itself or a part.

Nothing is written by it: an export has the smaller model's own table. Needs no torch until data move.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from zoo.anatomy.records import Shape
from zoo.anatomy.slices import Nested
from zoo.weights.entries import Ignore
from zoo.weights.ops import Op, same
from zoo.weights.table import Step, Table

if TYPE_CHECKING:
    from torch import Tensor

_LAYER = re.compile(r"^layers\.(\d+)\.")


@dataclass(frozen=True)
class Runs:
    """What is taken of a tensor with `size` rows along `dim`: the first of each run, and the one behind its last."""

    dim: int
    size: int
    runs: tuple[tuple[int, int], ...]

    def __str__(self) -> str:
        return f"{', '.join(f'{first}:{last}' for first, last in self.runs)} of {self.size} along {self.dim}"

    def __len__(self) -> int:
        return sum(last - first for first, last in self.runs)

    def take(self, x: Tensor) -> Tensor:
        """The runs, one behind the other."""
        import torch

        parts = [x.narrow(self.dim, first, last - first) for first, last in self.runs]
        return torch.cat(parts, self.dim) if len(parts) > 1 else parts[0].contiguous()

    def resized(self, shape: Shape, size: int) -> Shape:
        return (*shape[: self.dim], size, *shape[self.dim + 1 :])


def taken(*runs: Runs | None) -> Op:
    """Of each tensor some runs along a dimension, or all of it. What is left out is lost: there is no way back."""

    def load(x: Sequence[Tensor]) -> list[Tensor]:
        return [tensor if some is None else some.take(tensor) for tensor, some in zip(x, runs, strict=True)]

    def dump(y: Sequence[Tensor]) -> list[Tensor]:
        raise NotImplementedError("a part of a tensor does not give the whole of it")

    def sizes(shapes: Sequence[Shape], *, is_whole: bool) -> list[Shape]:
        return [
            shape if some is None else some.resized(shape, some.size if is_whole else len(some))
            for shape, some in zip(shapes, runs, strict=True)
        ]

    name = f"taken({'; '.join('all' if some is None else str(some) for some in runs)})"
    return Op(name, load, dump, lambda s: sizes(s, is_whole=True), lambda s: sizes(s, is_whole=False))


@dataclass(frozen=True, init=False)
class NestedTable(Table):
    """The table by which a part of a larger model's files is read; `table` is that of the whole."""

    table: Table
    part: Nested
    shapes: Mapping[str, Shape]  # of the part's weights
    whole_shapes: Mapping[str, Shape]

    def __init__(
        self, table: Table, part: Nested, shapes: Mapping[str, Shape], whole_shapes: Mapping[str, Shape]
    ) -> None:
        left_out = {name for name in whole_shapes if (at := _layer(name)) is not None and at not in part.layers}
        reason = f"left out by model.slice={part.name}"
        gone = [Ignore(name, reason) for step in table.every_step(left_out) for name in step.theirs]
        super().__init__(gone, table.ignored, table.aliases, spelling=table.spelling)
        for name, value in (("table", table), ("part", part), ("shapes", shapes), ("whole_shapes", whole_shapes)):
            object.__setattr__(self, name, value)

    def plan(self, ours: Iterable[str], present: Iterable[str] | None = None) -> tuple[list[Step], list[str]]:
        ours = list(ours)
        names = {self._origin(name): name for name in ours}
        steps, _ = self.table.plan(names, present)
        found = [self._narrowed(step, names) for step in steps]
        given = {name for step in found for name in step.ours}
        return found, [name for name in ours if name not in given]

    def every_step(self, ours: Iterable[str]) -> Iterator[Step]:
        names = {self._origin(name): name for name in ours}
        return (self._narrowed(step, names) for step in self.table.every_step(names))

    def runs_of(self, name: str) -> Runs | None:
        """What is taken of the larger model's weight for one of ours; None: all of it."""
        mine, whole = self.shapes[name], self.whole_shapes[self._origin(name)]
        if mine == whole:
            return None
        (dim,) = (i for i, (a, b) in enumerate(zip(mine, whole, strict=True)) if a != b)
        if name not in self.part.by_layer:
            return Runs(dim, whole[dim], ((0, mine[dim]),))
        block = mine[dim] // len(self.part.layers)
        return Runs(dim, whole[dim], tuple(_joined((i * block, (i + 1) * block) for i in self.part.layers)))

    def _origin(self, name: str) -> str:
        """The larger model's name for one of our weights."""
        at = _layer(name)
        return name if at is None else _LAYER.sub(f"layers.{self.part.layers[at]}.", name)

    def _narrowed(self, step: Step, names: Mapping[str, str]) -> Step:
        step = replace(step, ours=tuple(names[name] for name in step.ours))
        runs = [self.runs_of(name) for name in step.ours]
        if not any(runs):
            return step
        return replace(step, op=taken(*runs) if step.op is same else step.op >> taken(*runs))


def _layer(name: str) -> int | None:
    return int(found.group(1)) if (found := _LAYER.match(name)) else None


def _joined(runs: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Runs in order, with those that touch as one."""
    found: list[tuple[int, int]] = []
    for first, last in runs:
        if found and found[-1][1] == first:
            found[-1] = (found[-1][0], last)
        else:
            found.append((first, last))
    return found
