"""A grid of numbers over many powers of ten, the larger the stronger its colour."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from zoo.report.svg import ADVANCE, Markup, element, label, picture

HEIGHT, WIDE, LEAST = 20.0, 34.0, 9.0  # pixels of a cell; it gets narrower where there are many
ROOM = 1040.0
STEPS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # from which on the colour is one step stronger
TYPE = 12.0


class Cell(NamedTuple):
    """A number of the grid: None where it is too large to be told; `told` is what the mouse reads."""

    value: float | None
    told: str


def heat(name: str, rows: Sequence[str], columns: Sequence[str], cells: Sequence[Sequence[Cell | None]]) -> Markup:
    """A row for each name of `rows` with a cell for each of `columns`; a cell that is None is left open."""
    left = max((len(row) for row in rows), default=0) * ADVANCE * TYPE + 10
    width = max(LEAST, min(WIDE, (ROOM - left) / max(1, len(columns))))
    every = max(1, math.ceil(max((len(c) for c in columns), default=1) * ADVANCE * TYPE / width + 0.2))
    parts = []
    for j, line in enumerate(cells):
        parts.append(label(left - 8, j * HEIGHT + 14, rows[j], size=TYPE, anchor="end"))
        parts += [_square(left + i * width, j * HEIGHT, width, cell) for i, cell in enumerate(line) if cell]
    for i in range(0, len(columns), every):
        at = left + (i + 0.5) * width
        parts.append(label(at, len(rows) * HEIGHT + 16, columns[i], size=TYPE, anchor="middle", class_="muted"))
    whole = left + max(len(columns) * width, 60) + 12
    return picture(whole, len(rows) * HEIGHT + 24, name, *parts, class_="heat m0", narrowest=whole * 0.75)


def scale() -> Markup:
    """What the colours mean."""
    names = ["none", *(f"{step:g}" for step in STEPS)]
    parts = []
    for i, name in enumerate(names):
        told = Cell(0.0 if i == 0 else STEPS[i - 1], name)
        parts += [
            _square(i * 58.0 + 6, 0, 46, told),
            label(i * 58.0 + 29, 34, name, size=11, anchor="middle", class_="muted"),
        ]
    return picture(len(names) * 58.0, 40, "scale of the relative difference", *parts, class_="m0")


def strength(value: float | None) -> float:
    """How opaque a number's colour is, 0 for no difference and 1 from a whole on."""
    if value is None:
        return 1.0
    return 0.0 if value <= 0 else round(0.12 + 0.88 * sum(value >= step for step in STEPS) / len(STEPS), 2)


def _square(x: float, y: float, width: float, cell: Cell) -> Markup:
    at = {"x": x, "y": y, "width": width - 1.5, "height": HEIGHT - 1.5, "rx": 2}
    parts = [element("title", cell.told), element("rect", **at, class_="empty")]
    if opacity := strength(cell.value):
        parts.append(element("rect", **at, class_="seen", fill_opacity=str(opacity)))
    return element("g", *parts)
