"""That what torch.distributed.checkpoint says of its files holds together: each number in one place, alone there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

from zoo.anatomy.records import Shape
from zoo.errors import CheckpointError, clean
from zoo.files.dcp.metadata import DistributedState
from zoo.files.dcp.reader import Shard


def check_cover(shape: Shape, blocks: list[tuple[Shape, Shape]], file: Path, name: str) -> None:
    """Refuse shards that go beyond their tensor, overlap, or leave some of it out."""
    for begin, length in blocks:
        if len(begin) != len(shape) or len(length) != len(shape):
            raise CheckpointError(file, name, f"a shard at {list(begin)} of {list(length)} in a tensor {list(shape)}")
        if any(b + n > size for b, n, size in zip(begin, length, shape, strict=True)):
            what = f"the shard at {list(begin)} of {list(length)} goes beyond the tensor {list(shape)}"
            raise CheckpointError(file, name, what)
    filled = [block for block in blocks if prod(block[1])]
    if pair := _overlap(filled, len(shape)):
        raise CheckpointError(file, name, f"the shards at {list(pair[0])} and {list(pair[1])} overlap")
    if (there := sum(prod(length) for _, length in filled)) != prod(shape):
        what = f"its shards hold {there:,} of the {prod(shape):,} numbers of {list(shape)}"
        raise CheckpointError(file, name, what, hint="is a rank's part missing? Save it anew, by all ranks")


def _overlap(blocks: list[tuple[Shape, Shape]], rank: int) -> tuple[Shape, Shape] | None:
    """Where two blocks that overlap begin. Sorted along the dimension that is cut most, few stand side by side."""
    if len(blocks) < 2 or not rank:
        return (blocks[0][0], blocks[1][0]) if len(blocks) > 1 else None
    along = max(range(rank), key=lambda dim: len({begin[dim] for begin, _ in blocks}))
    beside: list[tuple[Shape, Shape]] = []
    for begin, length in sorted(blocks, key=lambda block: block[0][along]):
        beside = [b for b in beside if b[0][along] + b[1][along] > begin[along]]
        for other, size in beside:
            if all(b < o + s and o < b + n for b, n, o, s in zip(begin, length, other, size, strict=True)):
                return other, begin
        beside.append((begin, length))
    return None


def check_places(state: DistributedState, file: Path) -> None:
    """Refuse a place that is of nothing that the metadata names: one of the two is not what was written."""
    begins: dict[str, set[Any]] = {name: {()} for name, value in state.values.items() if value is None}
    begins |= {n: {begin for begin, _ in value.shards} for n, value in state.values.items() if value is not None}
    for name, begin in state.places:
        if begin not in begins.get(name, ()):
            told = f"a shard at {list(begin)} has a place in a file"
            raise CheckpointError(file, name, f"{told}, and the metadata knows of no such shard")


def others_of(state: DistributedState, weights: set[str], folder: Path) -> Iterator[tuple[Path, int, int, str]]:
    """Where that lies which is no weight."""
    for (name, _), place in state.places.items():
        if name not in weights and isinstance(place.file, str):
            yield folder / place.file, place.begin, place.begin + place.length, name


def check_apart(shards: Mapping[str, tuple[Shard, ...]], others: Iterable[tuple[Path, int, int, str]] = ()) -> None:
    """Refuse shards of which the bytes overlap; two names may be the same tensor, as those of tied weights."""
    placed: dict[Path, list[tuple[int, int, str, Shard | None]]] = {}
    for file, begin, end, name in others:
        placed.setdefault(file, []).append((begin, end, name, None))
    for name, held in shards.items():
        for shard in held:
            placed.setdefault(shard.file, []).append((shard.at, shard.at + shard.nbytes, name, shard))
    for file, found in placed.items():
        furthest: dict[bool, tuple[int, str, Shard | None]] = {}  # of weights, and of all else, which may overlap
        for begin, end, other, two in sorted(found, key=lambda item: item[:3]):
            for last, name, one in furthest.values():
                is_one = one is not None and one == two and shards[name] == shards[other]
                if begin < last and not is_one and (one is not None or two is not None):
                    raise CheckpointError(file, other, f"its bytes from {begin:,} on are those of {clean(name)} too")
            if end >= furthest.get(two is None, (0,))[0]:
                furthest[two is None] = end, other, two
