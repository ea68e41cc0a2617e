"""Random weights over several ranks: the same numbers as in one process, of which each rank keeps its share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh

from zoo.parallel.agreement import tensor_mesh, together
from zoo.parallel.declared import names_of
from zoo.parallel.plan import ShardingPlan


def materialised(model: nn.Module, mesh: DeviceMesh, fill: Callable[[nn.Module], nn.Module]) -> Any:
    """A module on meta with this rank's share of the weights that `fill` would give it.

    The numbers are drawn whole, as in one process, before the share is taken: random weights of a model that no rank
    can hold are not to be had. Raises UsageError, before anything is drawn, for what cannot be cut.
    """
    cut = tensor_mesh(mesh)
    if cut is not None:
        together(lambda: ShardingPlan.of(model, cut))
    filled = fill(model)
    if cut is not None and not next(filled.parameters()).is_meta:
        distribute(filled, cut)
    object.__setattr__(filled, "mesh", mesh)
    return filled


@torch.no_grad()
def distribute(model: nn.Module, mesh: DeviceMesh) -> ShardingPlan:
    """Cut a whole model in place, every rank having the same. Raises UsageError for what cannot be cut."""
    plan = ShardingPlan.of(model, mesh)
    for names in names_of(model):
        old = model.get_parameter(names[0])
        part = plan.part(names[0], old.detach())
        if part is not old:
            value = plan.placed(names[0], part.clone(), tuple(old.shape))
            parameter = nn.Parameter(value, requires_grad=old.requires_grad)
            for name in names:
                path, _, leaf = name.rpartition(".")
                model.get_submodule(path)._parameters[leaf] = parameter
    plan.install()
    return plan
