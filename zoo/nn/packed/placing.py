"""Packed matrices in the places of a model's weights: of a linear layer, or of a stack of experts.

N rows, K columns, E experts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from zoo.nn.packed.linear import PackedLinear, PackingScheme


class PackedStack(nn.Module):
    """The matrices [E, N, K] of stacked experts: indexing gives an expert's as numbers, in the dtype of the model."""

    def __init__(self, matrix: PackedLinear, num_experts: int) -> None:
        super().__init__()
        self.matrix, self.num_experts = matrix, num_experts

    @property
    def shape(self) -> torch.Size:
        """E, N, K."""
        return torch.Size((self.num_experts, self.matrix.out_features // self.num_experts, self.matrix.in_features))

    def __getitem__(self, index: int | Tensor) -> Tensor:
        """One expert's matrix [N, K], or those of several [..., N, K]."""
        rows = self.shape[1]
        if isinstance(index, Tensor):
            return torch.stack([self[e] for e in index.flatten().tolist()]).reshape(*index.shape, *self.shape[1:])
        return self.matrix.dequantise(rows=slice(index * rows, (index + 1) * rows))


def can_be_packed(model: nn.Module, name: str) -> bool:
    """Whether the weight `name` is the matrix of a linear layer that shares it with nothing, or a stack of them."""
    path, _, leaf = name.rpartition(".")
    owner = model.get_submodule(path)
    weight = owner._parameters.get(leaf)
    if weight is None or sum(p is weight for _, p in model.named_parameters(remove_duplicate=False)) > 1:
        return False
    return weight.ndim == 3 if type(owner) is not nn.Linear else leaf == "weight"


def packed_layers(model: nn.Module) -> dict[str, PackedLinear]:
    """The packed matrices of a model, by the names of the weights that they stand for."""
    found = {name: m for name, m in model.named_modules() if isinstance(m, PackedLinear)}
    stacks = {f"{name}.matrix": name for name, m in model.named_modules() if isinstance(m, PackedStack)}
    return {stacks.get(name, f"{name}.weight"): module for name, module in found.items()}


def put_packed(
    model: nn.Module, name: str, scheme: PackingScheme, parts: Mapping[str, Tensor], *, dtype: torch.dtype
) -> PackedLinear:
    """Let a packed matrix stand for the weight `name` of a model: in its nn.Linear's place, or in its stack's."""
    path, _, leaf = name.rpartition(".")
    owner = model.get_submodule(path)
    if isinstance(owner, nn.Linear) and leaf == "weight":
        shape = (owner.out_features, owner.in_features)
        layer = PackedLinear(scheme, parts, shape, dtype=dtype, bias=owner.bias).put_in_order()
        outer, _, inner = path.rpartition(".")
        setattr(model.get_submodule(outer), inner, layer)
        return layer
    experts, rows, columns = cast(Tensor, owner._parameters.pop(leaf)).shape
    layer = PackedLinear(scheme, parts, (experts * rows, columns), dtype=dtype).put_in_order()
    setattr(owner, leaf, PackedStack(layer, experts))
    return layer
