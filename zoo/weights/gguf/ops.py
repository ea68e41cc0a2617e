"""Changes of layout that llama.cpp's converter makes and no other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zoo.weights.ops import Op

__all__ = ["plus_one", "split_latent"]

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
