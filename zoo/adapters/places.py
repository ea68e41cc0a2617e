"""How a weight of zoo's models can be adapted: as a linear layer, as an embedding, or as a parameter of its own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from torch import nn

from zoo.errors import UsageError, some
from zoo.nn.packed import PackedLinear
from zoo.nn.products import is_linear


class Targets(NamedTuple):
    """What peft is told: modules, and parameters that belong to no linear layer."""

    modules: list[str]
    parameters: list[str]


def targets_of(model: nn.Module, weights: Iterable[str]) -> Targets:
    """How these weights are adapted. Raises UsageError, with its name, for one that cannot be."""
    modules, parameters, bad = [], [], []
    for name in weights:
        path, _, leaf = name.rpartition(".")
        owner = model.get_submodule(path)
        if leaf == "weight" and (is_linear(owner) or type(owner) in (nn.Embedding, PackedLinear)):
            modules.append(path)
        elif _is_used_whole(name, owner, leaf):
            parameters.append(name)
        else:
            bad.append(name)
    if bad:
        why = "peft adapts linear layers, embeddings of tokens, experts and routers; packed experts stay as they are"
        raise UsageError(f"cannot be adapted: {some(bad)}", why=why)
    return Targets(modules, parameters)


def _is_used_whole(name: str, owner: nn.Module, leaf: str) -> bool:
    """Whether a parameter is a matrix, or several, that its module itself multiplies by."""
    weight = owner._parameters.get(leaf)
    is_known = any(part in ("experts", "router") for part in name.split("."))
    return weight is not None and weight.ndim in (2, 3) and is_known and not isinstance(owner, nn.Embedding)
