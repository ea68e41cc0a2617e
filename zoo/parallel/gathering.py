"""Whole tensors of a model that lies over several ranks. Imports no torch.distributed.tensor by itself."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh


def is_over_ranks(tensor: Tensor) -> bool:
    """Whether a tensor is a DTensor."""
    module: Any = sys.modules.get("torch.distributed.tensor")  # it takes a second to import, and one process needs none
    return module is not None and isinstance(tensor, module.DTensor)


def whole(tensor: Any) -> Tensor:
    """All of a tensor: of a DTensor the parts of all ranks, each of which must ask for it at the same time."""
    with torch.no_grad():
        return tensor.full_tensor() if is_over_ranks(tensor) else tensor


def local(tensor: Any) -> Tensor:
    """Of a DTensor the part that this rank has."""
    return tensor.to_local() if is_over_ranks(tensor) else tensor


def weights_of(model: nn.Module) -> tuple[dict[str, Tensor], Callable[[str], Tensor]]:
    """The weights by their first names, for their types and shapes, and how all of one is had."""
    if "pipeline" in model.__dict__:
        from zoo.parallel.pipeline import held_by_stages

        return held_by_stages(model)
    ours: dict[str, Tensor] = {name: p.detach() for name, p in model.named_parameters()}
    return ours, lambda name: whole(ours[name])


def mesh_of(model: nn.Module) -> DeviceMesh | None:
    """The mesh that a model was built, loaded or sharded over; None for one process."""
    if (mesh := model.__dict__.get("mesh")) is not None:
        return mesh
    found: Any = next((p for p in model.parameters() if is_over_ranks(p)), None)
    return None if found is None else found.device_mesh
