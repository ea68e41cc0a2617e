"""Packed matrices of which a rank has some rows, columns, or tokens, computed as one process computes the whole.

Where a kernel of the CPU takes the whole matrix, activations are rounded on the way in and results on the way out; so
they are here, whatever the size of the part, and what ranks add up is added before it is rounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from zoo.anatomy.cuts import COLUMNS, VOCABULARY
from zoo.errors import UsageError
from zoo.nn.packed import PackedEmbedding, PackedLinear
from zoo.parallel.cutting import SUMMED, Held, cut_class
from zoo.parallel.shares import bounds


def cut_packed(module: Any, by: str, held: Held, whole: tuple[int, ...]) -> None:
    """Let a packed matrix, or table of tokens, compute with the rank's share of what was `whole`."""
    if isinstance(module, _OfRank):
        return  # the head of a table that was cut
    module.held, module.whole = held, whole
    forward: type = {COLUMNS: _ByColumns, VOCABULARY: _ByTokens}.get(by, _ByRows)
    if isinstance(module, PackedEmbedding):
        forward = _RowsOfTokens
    module.__class__ = cut_class(type(module), forward, tuple(held.ways.keys() & module._parameters.keys()))


class _OfRank:
    """A part of a packed matrix."""

    def narrow(self: Any, x: Tensor) -> bool:
        """Whether one process rounds x to bfloat16 on the way in."""
        return x.is_cpu and x.dtype != torch.float64 and self.scheme.takes(*self.whole)

    def product(self: Any, x: Tensor) -> Tensor:
        """The rank's rows of x times the matrix, without bias, rounded as one process rounds them."""
        if self.narrow(x) == (self.kernel is not None and x.is_cpu and x.dtype != torch.float64):
            return self.without_bias(x)
        return self.in_full(x, is_narrow=True).bfloat16().to(x.dtype)

    def __deepcopy__(self: Any, memo: Any) -> Any:
        raise UsageError("a packed matrix over ranks is not copied", hint="load the model twice")

    def _save_to_state_dict(self: Any, *given: Any) -> None:
        what = "a model whose packed weights lie over ranks has no state dict"
        raise UsageError(what, why="each rank has another part under the same name", hint="load it in one process")


class _ByRows(_OfRank):
    """A rank gives some of what the matrix gives, or of a matrix that it has whole uses some rows."""

    def forward(self: Any, x: Tensor) -> Tensor:
        way, rows = self.held.ways["weight"]
        out = self.product(self.held.entry(x))
        out = out[..., rows] if way == SUMMED and rows is not None else out
        return out if self.bias is None else out + self.bias


class _ByColumns(_OfRank):
    """A rank has some of what the matrix takes; results are added up, rounded, and given the bias."""

    def forward(self: Any, x: Tensor) -> Tensor:
        is_narrow = self.narrow(x)
        out = self.held.ranks.added(self.in_full(x, is_narrow=is_narrow))
        out = (out.bfloat16() if is_narrow else out).to(x.dtype)
        return out if self.bias is None else out + self.bias


class _ByTokens(_OfRank):
    """A rank gives the logits of some tokens, which are then laid end to end."""

    def forward(self: Any, x: Tensor) -> Tensor:
        out = self.product(self.held.entry(x))
        out = out if self.bias is None else out + self.bias
        return self.held.ranks.joined(out, self.whole[0])


class _RowsOfTokens:
    """A rank knows the states of some tokens, and gives 0 for those of the others."""

    def forward(self: Any, tokens: Tensor) -> Tensor:
        ranks, matrix = self.held.ranks, self.matrix
        first, last = bounds(self.whole[0], ranks.count, ranks.number)
        if last == first:  # more ranks than tokens
            return ranks.added(matrix.like.new_zeros(*tokens.shape, self.whole[1]))
        is_mine = (tokens >= first) & (tokens < last)
        out = super().forward(torch.where(is_mine, tokens - first, 0))  # pyrefly: ignore[missing-attribute]
        return ranks.added(torch.where(is_mine[..., None], out, 0))


def packed_part(block: nn.Module, part: str) -> nn.Module | None:
    """The packed matrix that stands in a block where one of its parts was."""
    found = getattr(block, part, None)
    return found if isinstance(found, PackedLinear | PackedEmbedding) else None


def left_of(ways: Mapping[str, Any], owner: nn.Module) -> dict[str, Any]:
    """What of a module's own weights is not packed."""
    return {name: way for name, way in ways.items() if name in owner._parameters}
