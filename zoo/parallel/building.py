"""Random weights over several ranks: the same numbers as in one process, of which each rank keeps its share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh

from zoo.parallel.agreement import cut_over, together
from zoo.parallel.declared import names_of
from zoo.parallel.plans import RankPlan, part_of, planned

Rounds = Callable[[nn.Module, RankPlan | None], object]  # packs weights, and lightens the model before it does


def materialised(
    model: nn.Module, mesh: DeviceMesh, fill: Callable[[nn.Module], nn.Module], rounds: Rounds | None = None
) -> Any:
    """A module on meta with this rank's share of the weights that `fill` would give it, and `rounds` then rounds.

    The numbers are drawn whole, as in one process, before the share is taken: random weights of a model that no rank
    can hold are not to be had. Raises UsageError, before anything is drawn, for what cannot be cut.
    """
    if is_cut := bool(together(lambda: cut_over(mesh))):
        together(lambda: planned(model, mesh))
    filled = fill(model)
    if is_cut and not next(filled.parameters()).is_meta:
        distribute(filled, mesh, rounds)
    elif rounds is not None:
        rounds(filled, None)
    object.__setattr__(filled, "mesh", mesh)
    return filled


@torch.no_grad()
def distribute(model: nn.Module, mesh: DeviceMesh, rounds: Rounds | None = None) -> RankPlan:
    """Cut a whole model in place, every rank having the same. Raises UsageError for what cannot be cut."""
    plan = planned(model, mesh)
    (rounds or _lightened)(model, plan)
    for names in names_of(model):
        old = model.get_parameter(names[0])
        part, shape = part_of(plan, names[0], old.detach()), tuple(old.shape)
        if plan.placed(names[0], part, shape) is part:
            continue  # whole on every rank
        parameter = nn.Parameter(plan.placed(names[0], part.clone(), shape), requires_grad=old.requires_grad)
        for name in names:
            path, _, leaf = name.rpartition(".")
            model.get_submodule(path)._parameters[leaf] = parameter
    plan.install()
    return plan


def _lightened(model: nn.Module, plan: RankPlan | None) -> None:
    if plan is not None:
        plan.lighten()
