"""Buffers that a constructor computes, of a model whose weights were put in place on a module without any."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn

from zoo.models.construction import Uninitialised, default_dtype
from zoo.registry import installed


def fill_buffers(model: nn.Module, device: torch.device) -> None:
    """Put on `device` the buffers that the constructor computes, of a module on meta whose weights were put in place.

    They have the type that the constructor gives them beside such weights, and the values that it computes in float32
    or wider. The weights of the modules that this takes are never written, so that they take no memory.
    """
    if not any(buffer.is_meta for buffer in model.buffers()):
        return
    numbers: Counter[torch.dtype] = Counter()
    for parameter in model.parameters():
        numbers[parameter.dtype] += parameter.numel() * parameter.is_floating_point()
    main = max(numbers, key=numbers.__getitem__)
    kept = _buffers_of(model, main)
    exact = kept if main.itemsize >= 4 else _buffers_of(model, torch.float32)
    for name, buffer in kept.items():
        path, _, leaf = name.rpartition(".")
        model.get_submodule(path)._buffers[leaf] = exact[name].to(device, buffer.dtype)


def _buffers_of(model: nn.Module, dtype: torch.dtype) -> dict[str, Tensor]:
    """What the constructor computes where weights are of `dtype`."""
    config: Any = model.config
    with Uninitialised(), torch.device("cpu"), default_dtype(dtype):
        return dict(installed()[config.family].build(config).named_buffers())
