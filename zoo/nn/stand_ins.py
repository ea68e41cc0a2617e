"""Tokens that stand in a text for what a tower makes of pictures: where they are, and what takes their places.

Shapes: B batch, T tokens, D hidden, n states of all pictures.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.errors import UsageError
from zoo.nn.places import Places, has_values

__all__ = ["check_places", "ends_of_runs", "places_of", "put"]


def places_of(token: int, tokens: Tensor, span: Places) -> Tensor:
    """Where in tokens [B, T] one stands that is `token`, [B, T]; padding is no place, whatever stands there."""
    where = tokens == token
    return where if span.padding is None else where & span.padding


def check_places(where: Tensor, counts: Sequence[int], *, of: str, given: str) -> None:
    """Raise UsageError unless the places [B, T] are those of so many states each, each in one run of places.

    `of` is a picture, as "an image" in words, and `given` says how many there are and of what size. A single token
    that stands there without a picture is one that the model itself wrote.
    """
    if not counts and (where.shape[1] == 1 or not has_values(where)):
        return
    found, ends = where.sum(1), torch.tensor([0, *counts]).cumsum(0)
    last = where & ~F.pad(where[:, 1:], (0, 1))
    runs = where.flatten().cumsum(0).view_as(where)[last].cpu()  # how many places there are up to the end of each
    if int(found.sum()) != int(ends[-1]) or not torch.isin(runs, ends).all():
        noun = of.split()[1]
        raise UsageError(
            f"the texts have {found.tolist()} places for {noun}s, {given} are given",
            hint=f"give pixels=, one for each, and all tokens of {of} in one pass",
        )


def put(x: Tensor, where: Tensor, states: Tensor) -> Tensor:
    """x [B, T, D] with `states` [..., D], n in all, in the n places `where` [B, T]."""
    return x.masked_scatter(where[..., None], states.to(x.dtype))


def ends_of_runs(where: Tensor, positions: Tensor) -> Tensor:
    """For tokens [B, T] the position of the last of the run of True that each is in; its own where False."""
    goes_on = where[:, 1:] & (positions[:, 1:] > positions[:, :-1])  # and no other document begins
    is_last = where & ~F.pad(goes_on, (0, 1))
    columns = torch.arange(where.shape[1], device=where.device)
    ends = torch.where(is_last, columns, columns[-1]).flip(1).cummin(1).values.flip(1)  # a later position may be less
    return torch.where(where, positions.expand(where.shape).gather(1, ends), positions)
