"""Modules and biases that were trained whole: their tensors stand in the place of the base's."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from zoo.adapters.fit.settled import AdapterFit
from zoo.errors import CheckpointError
from zoo.models.construction import assign, shared_parameters
from zoo.weights.table import Step


def steps_with_whole(fit: AdapterFit) -> list[Step]:
    """The steps of the table that read a tensor which the adapter brings whole."""
    steps = [fit.names.places[name][0] for name in fit.whole]
    return [*{step.ours: step for step in steps}.values()]


def replaced(fit: AdapterFit, step: Step, ours: list[Tensor], tensors: Mapping[str, Tensor]) -> list[Tensor]:
    """Ours with the adapter's whole tensors among the foreign ones. Raises CheckpointError for NaN or infinity."""
    theirs = step.op.dump(ours)
    for i, name in enumerate(step.theirs):
        if (info := fit.whole.get(name)) is not None:
            value = tensors[info.name]
            if not bool(torch.isfinite(value).all()):
                raise CheckpointError(info.file, info.name, "contains NaN or infinity")
            theirs[i] = value.to(theirs[i].device, theirs[i].dtype)
    return step.op.load(theirs)


def put_whole(model: nn.Module, fit: AdapterFit, tensors: Mapping[str, Tensor]) -> list[str]:
    """Let them stand in the model, and name ours. Raises CheckpointError where the base shares one with another."""
    names = {group[0]: group for group, _ in shared_parameters(model)}
    check_copies(fit, tensors)
    done = []
    for step in steps_with_whole(fit):
        before = [model.get_parameter(name).detach() for name in step.ours]
        after = replaced(fit, step, before, tensors)
        for name, old, new in zip(step.ours, before, after, strict=True):
            if torch.equal(old, new):
                continue
            refuse_shared(fit, name, len(names[name]) > 1)
            assign(model, names[name], new)
            done.append(name)
    return done


def check_copies(fit: AdapterFit, tensors: Mapping[str, Tensor]) -> None:
    """Raise CheckpointError for two tensors that the base has as one and that differ."""
    for name, info in fit.copies.items():
        first = fit.whole.get(fit.names.copies[name])
        if first is not None and not torch.equal(tensors[info.name], tensors[first.name]):
            raise CheckpointError(info.file, info.name, f"differs from {first.name}, and the base has both as one")


def refuse_shared(fit: AdapterFit, name: str, is_shared: bool) -> None:
    """Raise CheckpointError for a weight that the base uses twice, of which the adapter changed one."""
    if is_shared:
        what = f"{name} was trained apart from what the base ties it to, and the two would change together"
        raise CheckpointError(fit.adapter.path, "", what)
