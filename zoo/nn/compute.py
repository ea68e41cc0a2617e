"""What a layer computes in, asked of any layer: its matrix may be packed, or stand in a stranger's module."""

from __future__ import annotations

from typing import TypedDict

import torch
from torch import Tensor, nn


class Computed(TypedDict):
    """How the tensors that a module gives are made."""

    dtype: torch.dtype
    device: torch.device | None
    is_guess: bool  # whether nothing of the layer told it


def computed_by(*modules: nn.Module) -> Computed:
    """dtype and device of what `modules` give, by the first of them that tells; torch's default where none does.

    A weight says it where it is a plain matrix, the empty buffer `like` where zoo packed it. Of what has neither, as a
    layer that torch.ao or bitsandbytes put in, it is guessed: a cache then takes the dtype of the first keys.
    """
    for module in modules:
        weight = getattr(module, "weight", None)
        if isinstance(weight, Tensor) and _computes(weight):
            return {"dtype": weight.dtype, "device": weight.device, "is_guess": False}
        if isinstance(like := getattr(module, "like", None), Tensor):
            return {"dtype": like.dtype, "device": like.device, "is_guess": False}
    numbers = [t for module in modules for t in (*module.parameters(), *module.buffers())]
    found = next((t for t in numbers if _computes(t)), None)
    device = numbers[0].device if numbers else None
    dtype = torch.get_default_dtype() if found is None else found.dtype
    return {"dtype": dtype, "device": device, "is_guess": True}


def matrix_of(linear: nn.Module, like: Tensor) -> Tensor:
    """The matrix [N, K] of a layer without bias, in the dtype of `like`, which has K numbers in its last dimension."""
    weight = None if hasattr(linear, "base_layer") else getattr(linear, "weight", None)
    if isinstance(weight, Tensor) and _computes(weight):
        return weight  # but not of a layer of peft, whose weight is its base's, without the adapter
    if callable(dequantise := getattr(linear, "dequantise", None)):
        return dequantise(like.dtype)
    # Of a stranger's layer nothing is known but what it does: to the unit vectors it does its matrix.
    return linear(torch.eye(like.shape[-1], dtype=like.dtype, device=like.device)).mT


def unchanged(x: Tensor) -> Tensor:
    """x. In its place zoo.parallel puts what adds up gradients, or results, of the ranks that a block is cut over."""
    return x


def _computes(tensor: Tensor) -> bool:
    """Whether a layer can compute in the dtype of its numbers: those of eight bits and fewer stand beside scales."""
    return tensor.is_floating_point() and tensor.itemsize >= 2
