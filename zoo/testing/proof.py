"""A proof that a table loses nothing: tensors whose every element is another number go there and back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from zoo.weights.ledger import settle
from zoo.weights.ops import Shape
from zoo.weights.table import Step, Table, foreign_shapes
from zoo.weights.tensor_info import TensorInfo


def differences(table: Table, shapes: Mapping[str, Shape]) -> list[str]:
    """Why `table` is no bijection between weights of these shapes and foreign tensors; empty if it is one."""
    steps, orphans = table.plan(shapes)
    faults = [f"no rule yields {name}" for name in orphans]
    ours, start = {}, 0
    for name, shape in shapes.items():
        ours[name] = torch.arange(start, start + torch.Size(shape).numel()).reshape(shape)
        start += ours[name].numel()
    theirs: dict[str, Tensor] = {}
    for step in steps:
        dumped = dict(zip(step.theirs, step.op.dump([ours[name] for name in step.ours]), strict=True))
        faults += [f"{name} would be written twice" for name in dumped if name in theirs]
        theirs |= dumped
        faults += _faults(step, [ours[name] for name in step.ours], dumped, shapes)
    return faults or _unsettled(table, shapes, theirs)


def _faults(step: Step, ours: list[Tensor], dumped: Mapping[str, Tensor], shapes: Mapping[str, Shape]) -> list[str]:
    """What is wrong with one step."""
    found = [
        f"{name} is {list(dumped[name].shape)}, the table says {list(shape)}"
        for name, shape in foreign_shapes(step, shapes).items()
        if tuple(dumped[name].shape) != shape
    ]
    back = step.op.load(list(dumped.values()))
    found += [
        f"{name} does not come back from {', '.join(step.theirs)}"
        for name, before, after in zip(step.ours, ours, back, strict=True)
        if not torch.equal(before, after)
    ]
    # A whole tensor may be stored twice (a tied head that the format wants as well); no number within one may.
    distinct: list[Tensor] = []
    for tensor in dumped.values():
        if not any(torch.equal(tensor, other) for other in distinct):
            distinct.append(tensor)
    numbers = torch.cat([tensor.flatten() for tensor in distinct])
    kept, wanted = len(numbers.unique()), sum(tensor.numel() for tensor in ours)
    if kept != len(numbers):
        found.append(f"{', '.join(step.theirs)} repeat {len(numbers) - kept} of their numbers")
    if kept != wanted:
        found.append(f"of the {wanted} numbers in {', '.join(step.ours)}, {kept} are written")
    return found


def _unsettled(table: Table, shapes: Mapping[str, Shape], theirs: Mapping[str, Tensor]) -> list[str]:
    """What a ledger says against the tensors that the table itself has written."""
    infos = {
        name: TensorInfo(name, "float32", tuple(t.shape), Path("proof"), 4 * t.numel(), None)
        for name, t in theirs.items()
    }
    account = settle(table, shapes, infos)
    return [" ".join(problem).strip() for problem in account.problems()]
