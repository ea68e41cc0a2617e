"""Modules that compute with a rank's share of their weights, under the names and the classes that they had.

A module keeps its parameters, which are DTensors where they are cut; what it reads as `weight` is the rank's own part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor
from torch.nn import functional as F

from zoo.anatomy.cuts import COLUMNS, ROWS, VOCABULARY
from zoo.nn.products import linear
from zoo.parallel.shares import bounds
from zoo.parallel.sums import Ranks, SharedInput

LOCAL, SUMMED, PART, WHOLE = "local", "summed", "part", "whole"


class Held:
    """How parameters are read: a local part, or all of it, whose gradients are added up where all ranks use it."""

    def __init__(
        self,
        ranks: Ranks,
        ways: Mapping[str, tuple[str, slice | None]],
        entry: SharedInput,
        meshes: Sequence[DeviceMesh] = (),
    ) -> None:
        self.ranks, self.ways, self.entry = ranks, dict(ways), entry
        self.meshes = tuple(meshes) or (ranks.mesh,)  # over which parameters lie: FSDP2 has others

    def read(self, module: nn.Module, name: str) -> Tensor | None:
        """What the module computes with."""
        parameter = module._parameters[name]
        way, rows = self.ways[name]
        if parameter is None or way == WHOLE:
            return parameter
        if self.is_elsewhere(parameter):
            return parameter
        part: Tensor = parameter.to_local() if isinstance(parameter, DTensor) else parameter
        if way == LOCAL:
            return part
        entered = self.ranks.entered(part)
        if way == PART:
            return entered / self.ranks.count
        return entered if rows is None else entered[rows]

    def is_elsewhere(self, parameter: Tensor) -> bool:
        """Whether FSDP2 holds a part of it, and looks after it: nothing is computed with that."""
        return isinstance(parameter, DTensor) and parameter.device_mesh not in self.meshes


class _ByRows:
    """A rank gives some of what the matrix gives."""

    def forward(self: Any, x: Tensor) -> Tensor:
        return linear(self.held.entry(x), self.weight, self.bias)


class _ByColumns:
    """A rank has some of what the matrix takes; the bias is added once."""

    def forward(self: Any, x: Tensor) -> Tensor:
        out = self.held.ranks.added(in_full(x, self.weight)).to(x.dtype)
        return out if self.bias is None else out + self.bias


def in_full(x: Tensor, weight: Tensor) -> Tensor:
    """x times a matrix, of 16-bit numbers in float32: one process rounds the sum of all columns, not each part."""
    if x.dtype in (torch.float32, torch.float64) or torch.is_grad_enabled():
        return linear(x, weight)
    if x.device.type == "cpu":
        return linear(x.float(), weight.float())
    return torch.mm(x.flatten(0, -2), weight.mT, out_dtype=torch.float32).unflatten(0, x.shape[:-1])


class _ByTokens:
    """A rank gives the logits of some tokens, which are then laid end to end."""

    def forward(self: Any, x: Tensor) -> Tensor:
        out = linear(self.held.entry(x), self.weight, self.bias)
        return self.held.ranks.joined(out, self.out_features)


class _RowsOfTokens:
    """A rank knows the states of some tokens, and gives 0 for those of the others."""

    def forward(self: Any, tokens: Tensor) -> Tensor:
        first, last = bounds(self.num_embeddings, self.held.ranks.count, self.held.ranks.number)
        is_mine = (tokens >= first) & (tokens < last)
        if last == first:  # more ranks than tokens
            out = self.weight.new_zeros(*tokens.shape, self.embedding_dim)
            return self.held.ranks.added(out + self.weight.sum())
        out = F.embedding(torch.where(is_mine, tokens - first, 0), self.weight)
        return self.held.ranks.added(torch.where(is_mine[..., None], out, 0))


class AsBefore:
    """Nothing but what it reads is another."""


FORWARDS = {ROWS: _ByRows, COLUMNS: _ByColumns, VOCABULARY: _ByTokens}


def cut_module(module: nn.Module, by: str, held: Held, *, is_part: bool) -> None:
    """Let a module compute with the rank's share; `is_part` of a block, or the block that owns the weights itself."""
    forward: type = AsBefore
    if is_part and isinstance(module, nn.Embedding):
        forward = _RowsOfTokens
    elif is_part and isinstance(module, nn.Linear):
        forward = FORWARDS.get(by, AsBefore)
    module.held = held  # pyrefly: ignore[bad-argument-type]
    module.__class__ = cut_class(type(module), forward, tuple(held.ways))


def is_cut(module: object, by: str) -> bool:
    """Whether a module computes with a rank's share of a matrix."""
    return isinstance(module, FORWARDS[by])


@cache
def cut_class(kind: type[nn.Module], forward: type, names: tuple[str, ...]) -> type[nn.Module]:
    """A class that computes by `forward` and reads these parameters as a rank holds them."""

    def read(name: str) -> property:
        return property(lambda self: self.held.read(self, name))

    return type(f"Cut{kind.__name__}", (forward, kind), {name: read(name) for name in names})
