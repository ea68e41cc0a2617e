"""Shares of a whole: a rectangle per part, its area the part's share, after Bruls, Huizing, van Wijk (2000)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from zoo.report.palette import TINTS
from zoo.report.svg import Markup, element, fits, label, picture
from zoo.units import human_count

WIDTH, HEIGHT = 204.0, 136.0
SMALLEST = 0.0004  # share that is still drawn
LEAST = 0.02  # of the picture's side: a whole that is smaller is still seen


class Tile(NamedTuple):
    """A rectangle."""

    x: float
    y: float
    width: float
    height: float


def treemap(name: str, counts: Mapping[str, int], *, most: int | None = None) -> Markup:
    """The parts' shares as areas, the larger in the stronger tints; `name` says what is shown.

    A whole of `most` fills the picture, and a smaller one as much less of it as it is smaller.
    """
    total = sum(counts.values())
    side = max(math.sqrt(total / most), LEAST) if most else 1.0
    room = Tile(0, HEIGHT * (1 - side), WIDTH * side, HEIGHT * side)
    parts = sorted(((n, part) for part, n in counts.items() if n >= total * SMALLEST), reverse=True)
    tiles = squarified([n for n, _ in parts], room)
    drawn = [_tile(tile, part, n, n / total, i) for i, (tile, (n, part)) in enumerate(zip(tiles, parts, strict=True))]
    return picture(WIDTH, HEIGHT, name, *drawn)


def legend(counts: Mapping[str, int]) -> Markup:
    """Every part with its count and share, the smallest too."""
    total = sum(counts.values())
    items = sorted(counts.items(), key=lambda item: -item[1])
    lines = [
        element(
            "li", element("span", class_=f"chip g{_tint(i)}"), element("span", part),
            element("span", human_count(n)), element("span", share(n / total)),
        )
        for i, (part, n) in enumerate(items)
    ]  # fmt: skip
    return element("ul", *lines, class_="roles")


def share(part: float) -> str:
    """A share in words: 95%, 0.3%."""
    if part >= 0.0995:
        return f"{part:.0%}"
    return f"{part:.1%}" if part >= 0.0005 else "<0.1%"


def squarified(sizes: Sequence[float], room: Tile) -> list[Tile]:
    """Tiles for `sizes`, the largest first, as near to squares as rows of them in `room` come."""
    if not sizes:
        return []
    scale = room.width * room.height / sum(sizes)
    areas, out = [size * scale for size in sizes], []
    while areas:
        side = min(room.width, room.height)
        count = 1
        while count < len(areas) and _worst(areas[: count + 1], side) <= _worst(areas[:count], side):
            count += 1
        row, areas = areas[:count], areas[count:]
        tiles, room = _laid(row, room)
        out += tiles
    return out


def _worst(row: Sequence[float], side: float) -> float:
    """The most oblong tile's ratio, if the row lies along a side of this length."""
    depth = sum(row) / side
    return max(max(area / depth**2, depth**2 / area) for area in row)


def _laid(row: Sequence[float], room: Tile) -> tuple[list[Tile], Tile]:
    """The row along the shorter side of the room, and what is left of that."""
    is_column = room.width >= room.height
    depth = sum(row) / (room.height if is_column else room.width)
    tiles, at = [], 0.0
    for area in row:
        length = area / depth
        tiles.append(
            Tile(room.x, room.y + at, depth, length) if is_column else Tile(room.x + at, room.y, length, depth)
        )
        at += length
    if is_column:
        return tiles, Tile(room.x + depth, room.y, room.width - depth, room.height)
    return tiles, Tile(room.x, room.y + depth, room.width, room.height - depth)


def _tile(tile: Tile, name: str, count: int, part: float, rank: int) -> Markup:
    box = element("rect", x=tile.x, y=tile.y, width=tile.width, height=tile.height, class_=f"tile t{_tint(rank)}")
    told = f"{name}: {count:,}, {share(part)}"
    words = []
    if tile.height > 18 and fits(name, tile.width - 10, 13):
        words.append(label(tile.x + 6, tile.y + 15, name, class_="strong"))
    line = f"{human_count(count)} · {share(part)}"
    if words and tile.height > 34 and fits(line, tile.width - 12, 11):
        words.append(label(tile.x + 6, tile.y + 29, line, size=11))
    return element("g", element("title", told), box, *words)


def _tint(rank: int) -> int:
    """The ground of the part with this rank by size."""
    return max(0, len(TINTS) - 1 - rank)
