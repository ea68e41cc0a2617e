"""A mask as a grid: queries down, keys across, one path per shade."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from zoo.report.svg import Markup, element, label, number, picture

CELL, EDGE, TYPE = 9.0, 24.0, 17.0
STEPS = 12  # shades that are told apart


def grid(name: str, shades: Sequence[Sequence[float]]) -> Markup:
    """The square of `shades` [query][key], 0 empty to 1 full."""
    size = len(shades)
    paths: dict[int, list[str]] = {}
    for i, row in enumerate(shades):
        at = 0
        for step, run in groupby(_step(shade) for shade in row):
            length = len(list(run))
            if step:
                paths.setdefault(step, []).append(f"M{at} {i}h{length}v1h-{length}z")
            at += length
    cells = [
        element("path", d="".join(paths[step]), class_="seen", fill_opacity=f"{step / STEPS:.2f}") for step in paths
    ]
    lines = "".join(f"M{i} 0v{size}M0 {i}h{size}" for i in range(1, size))
    side = size * CELL
    empty = element("rect", width=size, height=size, class_="empty")
    drawn = element(
        "g", empty, *cells, element("path", d=lines, class_="cells"),
        transform=f"translate({number(EDGE)} {number(EDGE)}) scale({number(CELL)})",
    )  # fmt: skip
    words = [
        label(EDGE + side / 2, 16, "key →", size=TYPE, anchor="middle", class_="muted"),
        element(
            "g", label(0, 0, "← query", size=TYPE, anchor="middle", class_="muted"),
            transform=f"translate(16 {number(EDGE + side / 2)}) rotate(-90)",
        ),
    ]  # fmt: skip
    return picture(side + EDGE + 1, side + EDGE + 1, name, drawn, *words)


def _step(shade: float) -> int:
    """The shade's number; the faintest that is seen is still drawn."""
    return max(1, round(shade * STEPS)) if shade > 0 else 0
