"""Invertible changes of layout. Every op obeys dump(load(x)) == x and load(dump(y)) == y, bit for bit.

`load` goes from the foreign checkpoint to the zoo. `shapes` says, without torch, which foreign shapes give ours: it
is how a mis-shaped tensor is found before any data is read. `~op` swaps the directions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING

from zoo.anatomy.records import Shape

if TYPE_CHECKING:
    from torch import Tensor

Change = Callable[[Sequence["Tensor"]], list["Tensor"]]
Reshape = Callable[[Sequence[Shape]], list[Shape]]


@dataclass(frozen=True)
class Op:
    """`load` and `dump` between lists of tensors; `shapes` from ours to theirs, `our_shapes` back.

    One that `keeps_bytes` gives each tensor another name or shape and moves nothing in it.
    """

    name: str
    load: Change
    dump: Change
    shapes: Reshape
    our_shapes: Reshape
    keeps_bytes: bool = field(default=False, kw_only=True)
    # Where the foreign tensors are rows of ours: the op for so many of them.
    of_some: Callable[[int], Op] | None = field(default=None, kw_only=True)
    # Whether tensors of three dimensions keep their first: of some matrices of a stack it makes those of ours.
    keeps_first: bool = field(default=False, kw_only=True)
    # Whether theirs has more rows than ours, which repeat some of them: what another reader of the file wants.
    repeats: bool = field(default=False, kw_only=True)

    def __rshift__(self, then: Op) -> Op:
        """First self, then `then`, on the way in."""
        return Op(
            f"{self} >> {then}",
            lambda x: then.load(self.load(x)),
            lambda y: self.dump(then.dump(y)),
            lambda s: self.shapes(then.shapes(s)),
            lambda s: then.our_shapes(self.our_shapes(s)),
            keeps_bytes=self.keeps_bytes and then.keeps_bytes,
            keeps_first=self.keeps_first and then.keeps_first,
        )

    def __invert__(self) -> Op:
        return Op(
            f"~{self}", self.dump, self.load, self.our_shapes, self.shapes,
            keeps_bytes=self.keeps_bytes, keeps_first=self.keeps_first,
        )  # fmt: skip

    def __str__(self) -> str:
        return self.name


same = Op("same", list, list, list, list, keeps_bytes=True, keeps_first=True)


def _each(f: Callable[[Tensor], Tensor]) -> Change:
    return lambda xs: [f(x) for x in xs]


def _flip_shape(shape: Shape) -> Shape:
    return (*shape[:-2], shape[-1], shape[-2]) if len(shape) > 1 else shape


def _flip(x: Tensor) -> Tensor:
    return x.mT if x.ndim > 1 else x  # a bias has nothing to transpose


transpose = Op(
    "transpose",
    _each(_flip),
    _each(_flip),
    lambda s: [_flip_shape(x) for x in s],
    lambda s: [_flip_shape(x) for x in s],
    keeps_first=True,
)


def split(*sizes: int, dim: int = 0) -> Op:
    """One foreign tensor is several of ours, laid end to end along `dim`. Use `~split(...)` where ours is the fused."""

    def load(x: Sequence[Tensor]) -> list[Tensor]:
        return list(x[0].split(sizes, dim))

    def dump(y: Sequence[Tensor]) -> list[Tensor]:
        import torch

        return [torch.cat(list(y), dim)]

    def with_dim(shape: Shape, size: int) -> Shape:
        at = dim % len(shape)
        return (*shape[:at], size, *shape[at + 1 :])

    return Op(
        f"split{sizes}",
        load,
        dump,
        lambda s: [with_dim(s[0], sum(x[dim] for x in s))],
        lambda s: [with_dim(s[0], size) for size in sizes],
        keeps_first=dim > 0 or dim in (-1, -2),
    )


def interleaved(count: int, dim: int) -> Op:
    """One foreign tensor takes its slices along `dim` from `count` of ours in turn."""

    def load(x: Sequence[Tensor]) -> list[Tensor]:
        return [part.contiguous() for part in x[0].unflatten(dim, (-1, count)).unbind(dim + 1)]

    def dump(y: Sequence[Tensor]) -> list[Tensor]:
        import torch

        return [torch.stack(list(y), dim + 1).flatten(dim, dim + 1)]

    def scaled(shape: Shape, by: float) -> Shape:
        return (*shape[:dim], int(shape[dim] * by), *shape[dim + 1 :])

    return Op(
        f"interleaved({count})",
        load,
        dump,
        lambda s: [scaled(s[0], count)],
        lambda s: [scaled(s[0], 1 / count)] * count,
        keeps_first=dim > 0,
    )


def stack(count: int, dim: int = 0) -> Op:
    """`count` foreign tensors are one of ours with a new dimension."""

    def load(x: Sequence[Tensor]) -> list[Tensor]:
        import torch

        return [torch.stack(list(x), dim)]

    def without(shape: Shape) -> Shape:
        at = dim % len(shape)
        return shape[:at] + shape[at + 1 :]

    def added(shape: Shape) -> Shape:
        at = dim % (len(shape) + 1)
        return (*shape[:at], count, *shape[at:])

    return Op(
        f"stack({count})",
        load,
        lambda y: list(y[0].unbind(dim)),
        lambda s: [without(s[0])] * count,
        lambda s: [added(s[0])],
        of_some=stack if dim == 0 else None,
    )


def split_heads(groups: int, *sizes: int) -> Op:
    """Like split, but the foreign tensor repeats the sequence once per group (GPT-NeoX, BLOOM, ChatGLM)."""

    def load(x: Sequence[Tensor]) -> list[Tensor]:
        return [part.flatten(0, 1) for part in x[0].unflatten(0, (groups, -1)).split(sizes, 1)]

    def dump(y: Sequence[Tensor]) -> list[Tensor]:
        import torch

        return [torch.cat([part.unflatten(0, (groups, -1)) for part in y], 1).flatten(0, 1)]

    return Op(
        f"split_heads({groups} x {sizes})",
        load,
        dump,
        lambda s: [(sum(x[0] for x in s), *s[0][1:])],
        lambda s: [(groups * size, *s[0][1:]) for size in sizes],
    )


def rope_halves(heads: int, rope_dim: int, *, skip: int = 0) -> Op:
    """Foreign rows pair rotary channels (0, 1), (2, 3)...; ours pair (c, c + rope_dim/2).

    Of each head the first `skip` rows are not rotary and stay; so do those after the rotary ones. Biases permute too.
    """
    half = rope_dim // 2

    def reorder(x: Tensor, pairs: tuple[int, int]) -> Tensor:
        import torch

        rows = x.unflatten(0, (heads, -1))
        before, rotary, after = rows.split([skip, rope_dim, rows.shape[1] - skip - rope_dim], 1)
        rotary = rotary.unflatten(1, pairs).transpose(1, 2).flatten(1, 2)
        return torch.cat((before, rotary, after), 1).flatten(0, 1)

    return Op(
        f"rope_halves({heads} x {rope_dim})",
        _each(lambda x: reorder(x, (half, 2))),
        _each(lambda y: reorder(y, (2, half))),
        list,
        list,
    )


def reshape(ours: Shape, theirs: Shape) -> Op:
    """The same elements in the same order under another shape."""
    assert prod(ours) == prod(theirs), (ours, theirs)
    return Op(
        f"reshape{theirs}->{ours}",
        _each(lambda x: x.reshape(ours)),
        _each(lambda y: y.reshape(theirs)),
        lambda s: [theirs] * len(s),
        lambda s: [ours] * len(s),
        keeps_bytes=True,
    )
