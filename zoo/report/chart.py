"""Lines over axes with round ticks, each labelled where it ends in the colour of its model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from zoo.report.axis import Axis
from zoo.report.svg import ADVANCE, Markup, element, label, number, picture, rule

TYPE = 12.0
SPACING = 16.0  # pixels between the base lines of two labels at least
LONGEST = 28  # letters of a label
NEAR = 12.0  # pixels before the edge of the plot from which a leader to the margin crosses nothing


class Frame(NamedTuple):
    """A drawing's size and margins; the axes lie between them."""

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float

    @property
    def x(self) -> tuple[float, float]:
        """From the left to the right end of the axis."""
        return self.left, self.width - self.right

    @property
    def y(self) -> tuple[float, float]:
        """From the bottom to the top end of the axis."""
        return self.height - self.bottom, self.top


WIDE = Frame(1140, 350, 68, 240, 14, 44)
NARROW = Frame(360, 300, 62, 20, 14, 44)  # without labels: the legend is below


@dataclass(frozen=True)
class Line:
    """A model's points; beyond `solid_to` it is dashed."""

    model: int
    name: str
    points: tuple[tuple[float, float], ...]
    solid_to: float | None = None
    is_second: bool = False  # a further line of the same model: thinner


def chart(
    title: str, lines: Sequence[Line], x: Axis, y: Axis, frame: Frame, *, across: str, mark: float | None = None
) -> Markup:
    """The lines on both axes; `across` says what the x axis counts, `mark` is a value of it that is pointed out."""
    parts = [*_grid(x, y, frame), label(sum(frame.x) / 2, frame.height - 6, across, anchor="middle", class_="muted")]
    if mark is not None and x.low <= mark <= x.high:
        parts.append(rule(x(mark), frame.y[0], x(mark), frame.y[1], "mark"))
    for i, line in enumerate(lines):
        is_covered = any(later.points == line.points for later in lines[i + 1 :])
        parts += _drawn(line, x, y, "under" if is_covered else "second" if line.is_second else "")
    if frame is WIDE:
        parts += _labels(lines, x, y, frame)
    if frame is WIDE:
        return picture(frame.width, frame.height, title, *parts, class_="wide")
    return picture(frame.width, frame.height, title, *parts, class_="narrow", widest=560)


def both(draw: Callable[[Frame], Markup], lines: Sequence[Line]) -> list[Markup]:
    """A chart for wide screens, labelled, and for narrow ones, with the names below."""
    names = [element("li", element("span", class_="dot"), line.name, class_=f"m{line.model}") for line in lines]
    return [draw(WIDE), draw(NARROW), element("ul", *names, class_="names narrow")]


def spread(wanted: Sequence[float], low: float, high: float, gap: float = SPACING) -> list[float]:
    """Places nearest to those wanted that are `gap` apart and within low and high, in the same order."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    places = [min(max(wanted[i], low), high) for i in order]
    for i in range(1, len(places)):
        places[i] = max(places[i], places[i - 1] + gap)
    for i in range(len(places) - 1, -1, -1):  # what was pushed out below comes back
        places[i] = min(places[i], high - (len(places) - 1 - i) * gap)
    out = [0.0] * len(wanted)
    for place, i in zip(places, order, strict=True):
        out[i] = place
    return out


def _grid(x: Axis, y: Axis, frame: Frame) -> list[Markup]:
    parts = []
    for value, text in y.ticks:
        parts.append(rule(frame.x[0], y(value), frame.x[1], y(value)))
        parts.append(label(frame.left - 8, y(value) + 4, text, anchor="end", class_="muted"))
    room = (frame.x[1] - frame.x[0]) / max(1, len(x.ticks) - 1)
    every = 1 if max((len(text) for _, text in x.ticks), default=0) * ADVANCE * TYPE + 6 < room else 2
    for value, text in x.ticks[::every]:
        parts.append(rule(x(value), frame.y[0], x(value), frame.y[0] + 5))
        parts.append(label(x(value), frame.y[0] + 19, text, anchor="middle", class_="muted"))
    return parts


def _drawn(line: Line, x: Axis, y: Axis, style: str) -> list[Markup]:
    """A line; one that another will cover is broader, so that both are seen."""
    limit = line.solid_to
    solid = [p for p in line.points if limit is None or p[0] <= limit]
    dashed = [] if limit is None else [*solid[-1:], *(p for p in line.points if p[0] > limit)]
    parts = [element("title", line.name)]
    for points, class_ in ((solid, f"curve {style}"), (dashed, f"curve dashed {style}")):
        if len(points) > 1:
            path = "M" + "L".join(f"{number(x(a))} {number(y(b))}" for a, b in points)
            parts.append(element("path", d=path, class_=class_))
    if len(dashed) > 1 and solid:
        parts.append(element("circle", cx=x(solid[-1][0]), cy=y(solid[-1][1]), r=4, class_="end"))
    return [element("g", *parts, class_=f"m{line.model}")]


def _labels(lines: Sequence[Line], x: Axis, y: Axis, frame: Frame) -> list[Markup]:
    """Each line's name beside its end, moved apart from the others where they would meet."""
    ends = [y(line.points[-1][1]) for line in lines]
    places = spread(ends, frame.top + 6, frame.y[0] - 2)
    parts = []
    for line, end, place in zip(lines, ends, places, strict=True):
        start, edge = x(line.points[-1][0]), frame.x[1]
        name = line.name if len(line.name) <= LONGEST else line.name[: LONGEST - 1] + "…"
        text = label(edge + 14, place + 4, name, class_="name")
        parts.append(
            element("g", element("title", line.name), *_leader(start, end, edge, place), text, class_=f"m{line.model}")
        )
    return parts


def _leader(start: float, end: float, edge: float, place: float) -> list[Markup]:
    """From a line's end to its name; a line that ends within the plot has a dot there and by its name: none crosses."""
    if start > edge - NEAR:
        path = f"M{number(start + 3)} {number(end)}L{number(edge + 10)} {number(place)}"
        return [element("path", d=path, class_="leader")]
    return [
        element("circle", cx=start, cy=end, r=3.5, class_="seen"),
        element("circle", cx=edge + 6, cy=place, r=3.5, class_="seen"),
    ]
