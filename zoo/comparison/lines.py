"""The report's line charts: cache growth, rotary wavelengths, losses; each twice, for wide and for narrow screens."""

from __future__ import annotations

from collections.abc import Sequence

from zoo.comparison.attention import Look
from zoo.comparison.record import Comparison
from zoo.report.axis import bytes_axis, counted, decades, lengths_axis
from zoo.report.chart import Frame, Line, both, chart
from zoo.report.svg import Markup

SHORTEST, LONGEST = 512, 128 * 1024  # tokens of the cache chart, at least


def cache_growth(c: Comparison) -> list[Markup]:
    """Bytes of cache by the length of the text, on logarithmic axes; nothing where no model keeps a cache."""
    low, high = min(SHORTEST, c.length), max(LONGEST, c.length)
    lengths = sorted({*(round(low * 2 ** (k / 4)) for k in range(200) if low * 2 ** (k / 4) <= high), high})
    lines = []
    for i, s in enumerate(c.subjects):
        if s.size is None or not s.size.cache_bytes(1):
            continue
        limit = s.size.anatomy.max_seq_len
        at = sorted({*lengths, *([limit] if limit and low < limit < high else [])})
        points = tuple((float(n), float(s.size.cache_bytes(n, dtype=c.bytes_dtype))) for n in at)
        lines.append(Line(i, s.name, points, solid_to=limit))
    if not lines:
        return []
    every = [y for line in lines for _, y in line.points]

    def draw(frame: Frame) -> Markup:
        x = lengths_axis(low, high, *frame.x)
        y = bytes_axis(min(every), max(every), *frame.y)
        return chart("cache growth", lines, x, y, frame, across="tokens", mark=c.length)

    return both(draw, lines)


def wavelengths(c: Comparison, looks: Sequence[Look]) -> list[Markup]:
    """Tokens per turn by the number of the channel pair; nothing where no model rotates."""
    lines = []
    for i, found in enumerate(looks):
        for k, (layers, waves) in enumerate(found.wavelengths.items()):
            name = c.subjects[i].name + (f", {layers}" if len(found.wavelengths) > 1 else "")
            lines.append(Line(i, name, tuple((float(pair), w) for pair, w in enumerate(waves)), is_second=k > 0))
    if not lines:
        return []
    every = [w for line in lines for _, w in line.points]
    last = max(len(line.points) for line in lines) - 1

    def draw(frame: Frame) -> Markup:
        x, y = counted(last, *frame.x), decades(min(every), max(every), *frame.y)
        return chart("rotary wavelengths", lines, x, y, frame, across="channel pair")

    return both(draw, lines)


def losses(c: Comparison) -> list[Markup]:
    """Nats per token over the text; nothing where none was measured."""
    found = c.measurements.losses if c.measurements else ()
    lines = [
        Line(i, c.subjects[i].name, tuple((float(t), value) for t, value in enumerate(loss)))
        for i, loss in enumerate(found)
        if loss
    ]
    if not lines:
        return []
    last = max(len(line.points) for line in lines) - 1
    top = max(value for line in lines for _, value in line.points)

    def draw(frame: Frame) -> Markup:
        x, y = counted(last, *frame.x), counted(int(top) + 1, *frame.y)
        return chart("loss per token", lines, x, y, frame, across="token")

    return both(draw, lines)
