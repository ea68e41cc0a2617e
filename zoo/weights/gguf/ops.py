"""Changes of layout that llama.cpp's converter makes and no other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zoo.weights.ops import Op

__all__ = ["first_repeated", "log_of_negated", "plus_one", "split_latent", "tiled"]

if TYPE_CHECKING:
    from torch import Tensor


def _minus_one(xs: Sequence[Tensor]) -> list[Tensor]:
    return [(_wide(x) - 1).to(x.dtype) for x in xs]


def _plus_one(ys: Sequence[Tensor]) -> list[Tensor]:
    return [_wide(y) + 1 for y in ys]


def _wide(x: Tensor) -> Tensor:
    return x.float() if x.is_floating_point() and x.itemsize < 4 else x


# Foreign numbers are ours plus one: the norms of Gemma, whose weights count from 1. The sum is one of float32, in
# which the last digits of what is below 2^-16 are lost, as they are where a model adds the 1 itself.
plus_one = Op("plus_one", _minus_one, _plus_one, list, list)


def split_latent(heads: int, nope: int, rank: int) -> Op:
    """Two foreign tensors, keys [heads, rank, nope] and values [heads, v, rank], are our rows of each head in turn."""

    def load(x: Sequence[Tensor]) -> list[Tensor]:
        import torch

        return [torch.cat((x[0].mT, x[1]), 1).flatten(0, 1)]

    def dump(y: Sequence[Tensor]) -> list[Tensor]:
        rows = y[0].unflatten(0, (heads, -1))
        return [rows[:, :nope].mT.contiguous(), rows[:, nope:].contiguous()]

    return Op(
        f"split_latent({heads} x {nope})",
        load,
        dump,
        lambda s: [(heads, rank, nope), (heads, s[0][0] // heads - nope, rank)],
        lambda s: [(heads * (s[0][2] + s[1][1]), rank)],
    )


def first_repeated(rows: int, whole: int) -> Op:
    """A foreign table of `whole` rows is our `rows` of them, and the first over and over behind these."""

    def dump(y: Sequence[Tensor]) -> list[Tensor]:
        import torch

        return [torch.cat((y[0], y[0][:1].expand(whole - rows, -1)))]

    return Op(
        f"first_repeated({rows} of {whole})",
        lambda xs: [xs[0][:rows]],
        dump,
        lambda s: [(whole, *s[0][1:])],
        lambda s: [(rows, *s[0][1:])],
        repeats=True,
    )


def tiled(groups: int, count: int, *, skip: int = 0, dim: int = 0) -> Op:
    """Of `count` heads, as many in each of the `groups`, theirs has the first of each group, then the second...

    Ours has all of a group together. The first `skip` along `dim` are no heads; of several tensors the last has them.
    """
    each = count // groups

    def reorder(x: Tensor, sizes: tuple[int, int]) -> Tensor:
        import torch

        before, heads = x.split([skip, x.shape[dim] - skip], dim)
        heads = heads.unflatten(dim, (*sizes, -1)).transpose(dim, dim + 1).flatten(dim, dim + 2)
        return torch.cat((before, heads), dim)

    return Op(
        f"tiled({groups} x {each})",
        lambda xs: [*xs[:-1], reorder(xs[-1], (each, groups))],
        lambda ys: [*ys[:-1], reorder(ys[-1], (groups, each))],
        list,
        list,
    )


def _log(xs: Sequence[Tensor]) -> list[Tensor]:
    return [(-x.double()).log().to(x.dtype) if x.is_floating_point() else -x for x in xs]


def _minus_exp(ys: Sequence[Tensor]) -> list[Tensor]:
    return [-_wide(y).double().exp().to(_wide(y).dtype) if y.is_floating_point() else -y for y in ys]


# Foreign numbers are what decays are in the end, -exp of ours. In float32 the last digit may be lost; numbers that were
# of 16 bits come back as they were. Integers, by which tables are proven, only take the other sign.
log_of_negated = Op("log_of_negated", _log, _minus_exp, list, list)
