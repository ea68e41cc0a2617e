"""Which share of each weight a rank holds: arithmetic on what the blocks declare. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from zoo.anatomy.cuts import COLUMNS, EXPERTS, PARTED, ROWS, SHARED, VOCABULARY, Share
from zoo.anatomy.records import Shape
from zoo.errors import UsageError, some

TENSOR = (ROWS, COLUMNS, VOCABULARY, SHARED, PARTED)  # the kinds of tensor parallelism


class Need(NamedTuple):
    """What must divide by the number of ranks: of which weight, how many units, and whether those may repeat."""

    name: str
    units: int
    can_repeat: bool

    def fits(self, ranks: int) -> bool:
        """Whether so many ranks can have equal shares, or one unit each."""
        return self.units % ranks == 0 or (self.can_repeat and ranks % self.units == 0)


def tensor_share(shares: Iterable[Share]) -> Share | None:
    """The share of a rank where each block is cut within."""
    return next((share for share in shares if share.by in TENSOR), None)


def expert_share(shares: Iterable[Share]) -> Share | None:
    """The share of a rank that has some experts whole."""
    return next((share for share in shares if share.by == EXPERTS), None)


def is_whole(share: Share | None, ranks: int) -> bool:
    """Whether every rank holds all of a weight."""
    return share is None or share.dim is None or (share.can_repeat and share.units is not None and share.units < ranks)


def bounds(length: int, ranks: int, rank: int) -> tuple[int, int]:
    """First and last of so many rows that a rank has, as torch.chunk parts them."""
    each = -(-length // ranks)
    return min(rank * each, length), min((rank + 1) * each, length)


def layers_of(length: int, stages: int, stage: int) -> range:
    """The layers that a stage of a pipeline has: as many as others, or one more."""
    return range(stage * length // stages, (stage + 1) * length // stages)


def local_shape(shape: Shape, share: Share | None, ranks: int, rank: int = 0) -> Shape:
    """The shape of what a rank holds of a weight."""
    if share is None or share.dim is None or is_whole(share, ranks):
        return shape
    first, last = bounds(shape[share.dim], ranks, rank)
    return (*shape[: share.dim], last - first, *shape[share.dim + 1 :])


def need_of(name: str, shape: Shape, share: Share | None) -> Need | None:
    """What a weight asks of the number of ranks; the rows of a vocabulary need not be shared equally."""
    if share is None or share.dim is None or share.by == VOCABULARY:
        return None
    return Need(name, share.units or shape[share.dim], share.can_repeat)


def check(needs: Iterable[Need], ranks: int, what: str) -> None:
    """Raise UsageError, with the sizes that work, for a number of ranks that do not get equal shares."""
    needs = list(dict.fromkeys(needs))
    bad = [need for need in needs if not need.fits(ranks)]
    if not bad:
        return
    most = max(need.units for need in needs)
    good = [n for n in range(1, min(most, 4096) + 1) if all(need.fits(n) for need in needs)]
    told = [f"{need.name} has {need.units}" for need in {(n.name, n.units): n for n in bad}.values()]
    raise UsageError(
        f"{what}={ranks} cannot cut this model: {some(told, most=3)}, and that is not a multiple of {ranks}",
        hint=f"sizes that work: {', '.join(map(str, good))}",
    )
