"""Packed matrices in the places of a model's weights: of a linear layer, a stack of experts, a table of tokens.

N rows, K columns, E experts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from zoo.nn.decoder import Decoder
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


class PackedEmbedding(nn.Module):
    """A table of tokens whose rows are unpacked when they are asked for, in the dtype of the model."""

    def __init__(self, matrix: PackedLinear) -> None:
        super().__init__()
        self.matrix = matrix

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens [B, T] to [B, T, K]."""
        known, places = torch.unique(tokens, return_inverse=True)
        rows = [self.matrix.dequantise(rows=slice(token, token + 1)) for token in known.tolist()]
        return torch.cat(rows)[places] if rows else self.matrix.dequantise(rows=slice(0, 0))[places]


def can_be_packed(model: nn.Module, name: str) -> bool:
    """Whether the weight `name` is the matrix of a linear layer that shares it with nothing, or a stack of them."""
    path, _, leaf = name.rpartition(".")
    owner = model.get_submodule(path)
    weight = owner._parameters.get(leaf)
    if weight is None or len(_homes(model, weight)) > 1:
        return False
    return weight.ndim == 3 if type(owner) is not nn.Linear else leaf == "weight"


def is_packable_table(model: nn.Module, name: str) -> bool:
    """Whether `name` is a decoder's table of tokens, whose rows are looked up and which at most a head shares."""
    if not isinstance(model, Decoder) or name != "embed.weight" or type(model.embed) is not nn.Embedding:
        return False
    plain = model.embed.padding_idx is None and model.embed.max_norm is None
    others = [home for home in _homes(model, model.embed.weight) if home != "embed"]
    heads = [model.get_submodule(home) for home in others]
    return plain and all(type(head) is nn.Linear and head.bias is None for head in heads)


def put_table(
    model: nn.Module, scheme: PackingScheme, parts: Mapping[str, Tensor], *, dtype: torch.dtype
) -> PackedLinear:
    """Let a packed matrix stand for a decoder's table of tokens, and for the head that shares it."""
    weight = model.get_parameter("embed.weight")
    rows, columns = weight.shape
    layer = PackedLinear(scheme, parts, (rows, columns), dtype=dtype).put_in_order()
    for home in _homes(model, weight):
        outer, _, inner = home.rpartition(".")
        setattr(model.get_submodule(outer), inner, PackedEmbedding(layer) if home == "embed" else layer)
    return layer


def _homes(model: nn.Module, weight: Tensor) -> list[str]:
    """The modules that hold a parameter."""
    held = model.named_parameters(remove_duplicate=False)
    return [name.rpartition(".")[0] for name, parameter in held if parameter is weight]


def packed_layers(model: nn.Module) -> dict[str, PackedLinear]:
    """The packed matrices of a model, by the names of the weights that they stand for."""
    found = {name: m for name, m in model.named_modules() if isinstance(m, PackedLinear)}
    stacks = {f"{name}.matrix": name for name, m in model.named_modules() if isinstance(m, PackedStack)}
    stacks |= {f"{n}.matrix": f"{n}.weight" for n, m in model.named_modules() if isinstance(m, PackedEmbedding)}
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
