"""An adapter taken into the weights that it stands beside, after which no layer of peft is left."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn

from zoo.adapters import peft_library
from zoo.errors import UsageError
from zoo.nn.packed import PackedLinear


def merge(model: nn.Module) -> nn.Module:
    """The model with its adapter in its weights, changed in place.

    Raises UsageError, and leaves the model as it was, where a weight is packed, or tied to one that is not adapted.
    """
    layers = {name: model.get_submodule(name) for name, _ in peft_library.adapted(model)}
    if not layers:
        raise UsageError("the model has no adapter")
    for name, layer in layers.items():
        _check(model, name, layer)
    for name, layer in layers.items():
        path, _, leaf = name.rpartition(".")
        with torch.no_grad():
            setattr(model.get_submodule(path), leaf, _merged(layer))
    for left in ("adapter", "peft_config"):
        model.__dict__.pop(left, None)
    return model


def _merged(layer: Any) -> nn.Module:
    if hasattr(layer, "parameter_name"):  # of which several may stand around one module
        return layer.unload_and_optionally_merge_module(merge=True, safe_merge=False, adapter_names=None)
    layer.merge()
    return layer.get_base_layer()


def _check(model: nn.Module, name: str, layer: Any) -> None:
    base = layer.get_base_layer()
    if isinstance(base, PackedLinear):
        hint = "load it without quantize= and --packed"
        raise UsageError(f"{name} is packed, and takes no adapter in", hint=hint)
    weight = getattr(base, "weight", None)
    uses = Counter(id(p) for _, p in model.named_parameters(remove_duplicate=False))
    if isinstance(weight, Tensor) and uses[id(weight)] > 1:
        what = f"{name} is tied to another weight, which would change with it"
        raise UsageError(what, hint="keep the adapter beside the model")
