"""Packed matrices in the places of a model's weights: of a linear layer, a stack of experts, a table of tokens.

N rows, K columns, E experts.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from zoo.nn.packed.linear import PackedLinear, PackingScheme
from zoo.nn.products import is_linear

TABLES = ("embed.weight", "embed.tokens.weight")  # of decoders and encoder-decoders, and of encoders


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
        if (rows := self.matrix.look_up(tokens)) is not None:
            return rows
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
    return weight.ndim == 3 if not is_linear(owner) else leaf == "weight"


def is_packable_table(model: nn.Module, name: str) -> bool:
    """Whether `name` is the table of tokens, whose rows are looked up, and which at most one head shares."""
    if name not in TABLES:
        return False
    home = name.removesuffix(".weight")
    table = model.get_submodule(home)
    if type(table) is not nn.Embedding or table.padding_idx is not None or table.max_norm is not None:
        return False
    heads = [model.get_submodule(other) for other in _homes(model, table.weight) if other != home]
    return len(heads) < 2 and all(map(is_linear, heads))


def _put_table(
    model: nn.Module, name: str, scheme: PackingScheme, parts: Mapping[str, Tensor], *, dtype: torch.dtype,
    shape: tuple[int, ...],
) -> PackedLinear:  # fmt: skip
    """Let one packed matrix stand for the table of tokens, and for the head that shares it."""
    homes = {home: model.get_submodule(home) for home in _homes(model, model.get_parameter(name))}
    bias = next((owner.bias for owner in homes.values() if isinstance(owner, nn.Linear)), None)
    rows, columns = shape
    layer = PackedLinear(scheme, parts, (rows, columns), dtype=dtype, bias=bias).put_in_order()
    for home, owner in homes.items():
        outer, _, inner = home.rpartition(".")
        setattr(model.get_submodule(outer), inner, layer if isinstance(owner, nn.Linear) else PackedEmbedding(layer))
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
    model: nn.Module, name: str, scheme: PackingScheme, parts: Mapping[str, Tensor], *, dtype: torch.dtype,
    shape: tuple[int, ...] | None = None,
) -> PackedLinear:  # fmt: skip
    """Let a packed matrix stand for the weight `name`: in the place of an nn.Linear, of a stack, of tokens' table.

    `shape` is that of a rank's part; None: all of the weight.
    """
    shape = shape or tuple(model.get_parameter(name).shape)
    if is_packable_table(model, name):
        return _put_table(model, name, scheme, parts, dtype=dtype, shape=shape)
    path, _, leaf = name.rpartition(".")
    owner = model.get_submodule(path)
    if isinstance(owner, nn.Linear) and leaf == "weight":
        layer = PackedLinear(scheme, parts, (shape[0], shape[1]), dtype=dtype, bias=owner.bias).put_in_order()
        outer, _, inner = path.rpartition(".")
        setattr(model.get_submodule(outer), inner, layer)
        return layer
    experts, rows, columns = shape
    owner._parameters.pop(leaf)
    layer = PackedLinear(scheme, parts, (experts * rows, columns), dtype=dtype).put_in_order()
    setattr(owner, leaf, PackedStack(layer, experts))
    return layer
