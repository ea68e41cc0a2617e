"""The rooms of zoo and what each imports, read from the source: the picture on the page of the architecture."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from html import escape
from pathlib import Path

from .deviations import ROOT

WIDTH, HEIGHT, GAP = 118, 34, 46  # of a box and of the space between two rows, in pixels
COLUMNS = 6
PLACE = "<!-- rooms -->"  # where the picture stands on the page
STYLE = (
    ".room rect{fill:var(--md-default-bg-color,Canvas);stroke:currentColor;stroke-width:1.4}"
    ".room text{fill:currentColor;font:13px monospace;text-anchor:middle}"
    ".arrow{fill:none;stroke:currentColor;stroke-width:1;opacity:.35}"
)
Graph = dict[str, set[str]]


@cache  # read once for the pictures of both languages
def imports() -> Graph:
    """Which room imports which others, anywhere in its files; a file beside the rooms is a room of its own."""
    graph: Graph = {}
    for file in sorted((ROOT / "zoo").rglob("*.py")):
        room = file.relative_to(ROOT / "zoo").parts[0].removesuffix(".py")
        if room[:2] != "__":  # the public names lead everywhere, and `python -m zoo` to the commands
            graph.setdefault(room, set()).update(found for found in _imported(file) if found != room)
    return {room: {other for other in others if other in graph} for room, others in graph.items()}


def reduced(graph: Graph) -> Graph:
    """The same without arrows that a longer way says already."""
    below = {room: _reached(graph, room) for room in graph}
    return {room: {o for o in others if not any(o in below[p] for p in others)} for room, others in graph.items()}


def rows(graph: Graph) -> list[list[str]]:
    """Rooms by how many stand below them at most, the highest first."""
    depth: dict[str, int] = {}
    for room in TopologicalSorter(graph).static_order():  # a circle is an error here, and in the import contract
        depth[room] = 1 + max((depth[other] for other in graph[room]), default=-1)
    found: dict[int, list[str]] = {}
    for room in sorted(graph):
        found.setdefault(depth[room], []).append(room)
    return [found[level] for level in sorted(found, reverse=True)]


def picture(graph: Graph) -> str:
    """An SVG that takes the page's colours, light or dark: boxes by row, an arrow from each room to those it needs."""
    places = dict(_places(rows(graph)))
    bottom = max(y for _, y in places.values()) + HEIGHT + 4
    arrows = [
        _arrow(places[room], places[other]) for room, others in reduced(graph).items() for other in sorted(others)
    ]
    boxes = [_box(room, *place) for room, place in places.items()]
    wide = COLUMNS * (WIDTH + 20)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {bottom}" role="img" style="width:100%">'
        f"<title>The rooms of zoo</title><style>{STYLE}</style>{''.join(arrows)}{''.join(boxes)}</svg>"
    )


def _places(levels: list[list[str]]) -> Iterator[tuple[str, tuple[float, float]]]:
    for row, names in enumerate(levels):
        step = COLUMNS * (WIDTH + 20) / (len(names) + 1)
        aside = 60 * (-1) ** row if len(names) % 2 else 0  # so that an arrow does not run through the boxes below
        for i, name in enumerate(names):
            yield name, (step * (i + 1) + aside, 4 + row * (HEIGHT + GAP))


def _box(name: str, x: float, y: float) -> str:
    shape = f'<rect x="{x - WIDTH / 2:.0f}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="6"/>'
    return f'<g class="room">{shape}<text x="{x:.0f}" y="{y + 22}">{escape(name)}</text></g>'


def _arrow(start: tuple[float, float], end: tuple[float, float]) -> str:
    (a, top), (b, bottom) = start, end
    top, middle = top + HEIGHT, (top + HEIGHT + bottom) / 2
    return (
        f'<path class="arrow" d="M{a:.0f} {top:.0f}C{a:.0f} {middle:.0f} {b:.0f} {middle:.0f} {b:.0f} {bottom:.0f}"/>'
    )


def _reached(graph: Graph, room: str) -> set[str]:
    found: set[str] = set()
    todo = list(graph[room])
    while todo:
        other = todo.pop()
        if other not in found:
            found.add(other)
            todo += graph[other]
    return found


def _imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        yield from (name.split(".")[1] for name in names if name.startswith("zoo."))
