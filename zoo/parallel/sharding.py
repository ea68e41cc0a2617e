"""Weights, gradients and the optimizer's state spread over ranks that read other texts (FSDP2, arXiv:2304.11277)."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any

import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

from zoo.errors import UsageError

READ_APART = "keys_and_values"  # of a source: what attention to it computes before its layer is called


def shard(model: nn.Module, mesh: DeviceMesh, **settings: Any) -> nn.Module:
    """Let torch's fully_shard spread a model over the `dp` ranks of a mesh, layer by layer, in place.

    A model that was loaded over the `tp` ranks of the same mesh is then spread in two ways. `settings` are those of
    fully_shard (mp_policy=, offload_policy=, reshard_after_forward=). Raises UsageError for a mesh without `dp`.
    """
    if mesh.ndim > 1 or mesh.mesh_dim_names is not None:
        if "dp" not in (mesh.mesh_dim_names or ()):
            names = mesh.mesh_dim_names or "no names"
            raise UsageError(f"the mesh has the dimensions {names}, and none is dp", hint="name the one of texts dp")
        mesh = mesh["dp"]
    layers = _layers(model)
    alone = _read_by_several(model, layers) | {p for p in model.parameters() if not p.ndim}
    for parameter in alone:  # which fully_shard takes none of: whole on each rank
        parameter.register_hook(partial(_mean, mesh=mesh))
    settings["ignored_params"] = alone
    for module in model.modules():
        if hasattr(type(module), READ_APART):
            fully_shard(module, mesh=mesh, **settings)
            register_fsdp_forward_method(module, READ_APART)
    for layer in layers:
        fully_shard(layer, mesh=mesh, **settings)
    fully_shard(model, mesh=mesh, **settings)
    return model


def _read_by_several(model: nn.Module, layers: list[nn.Module]) -> set[nn.Parameter]:
    """What belongs to no one layer, as a table that all of them read."""
    within = [set(layer.parameters()) for layer in layers]
    counts = Counter(p for parameters in within for p in parameters)
    inner = {id(module) for layer in layers for module in layer.modules()}
    outer = {p for module in model.modules() if id(module) not in inner for p in module.parameters(recurse=False)}
    return {p for p, count in counts.items() if count > 1 or p in outer}


def _mean(gradient: Tensor, mesh: DeviceMesh) -> Tensor:
    total = gradient.clone()
    dist.all_reduce(total, group=mesh.get_group())
    return total / mesh.size()


def _layers(model: nn.Module) -> list[nn.Module]:
    """The layers of all stacks, the outermost where stacks are within layers."""
    found: list[nn.Module] = []
    within: set[str] = set()
    for name, module in model.named_modules():
        if any(name.startswith(f"{outer}.") for outer in within):
            continue
        if isinstance(module, nn.ModuleList):
            within.add(name)
            found += [layer for layer in module if any(True for _ in layer.parameters())]
    return found
