"""A difference as aligned text and as tab-separated values."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from zoo.anatomy.records import Shape
from zoo.difference.record import ComparedWeights, TensorChange, Total, WeightDifference
from zoo.errors import clean
from zoo.units import human_count
from zoo.weights.account import grouped

MOST = 10  # tensors that are named where not all are asked for
HEAD = ("tensors", "differ", "elements changed", "relative", "max |Δ|", "cosine")


def as_text(d: WeightDifference, *, is_whole: bool = False) -> str:
    """The two sides, what differs in all, then by role, by layer and by tensor, and what has no counterpart."""
    lines = [_side("A", d.a), _side("B", d.b), *headline(d), *(f"  note      {note}" for note in d.notes), ""]
    lines += _aligned([("", *HEAD), *((role, *cells(total)) for role, total in d.by_role.items())])
    if not d.is_equal and d.total.differing:
        lines += ["", "  relative difference by layer and role; = is equal to the bit, 0 the same values in other bits"]
        lines += _aligned(list(_layers(d)))
    changed = worst(d)
    if changed:
        shown = changed if is_whole else changed[:MOST]
        rest = "" if len(shown) == len(changed) else f", {len(shown)} of {len(changed)}; all: --all"
        lines += ["", f"  most changed{rest}"]
        lines += _aligned([("", *HEAD[2:], "dtypes"), *((t.name, *cells(Total.of([t]))[2:], dtypes(t)) for t in shown)])
    return "\n".join([*lines, *_without(d)])


def as_tsv(d: WeightDifference) -> str:
    """A line for each weight, numbers whole: for pipes."""
    lines: list[str] = []
    names = "tensor role shape dtype_a dtype_b verdict elements changed relative max_abs cosine".split()
    lines.append("\t".join(names))
    for t in d.tensors:
        n = t.tally
        cells = (t.name, t.role, _shape(t.shape), *t.dtypes, t.verdict, n.numel, n.changed, n.relative, n.largest)
        lines.append("\t".join("" if v is None else str(v) for v in (*cells, n.cosine)))
    lines += [f"{n}\t\t{_shape(s)}\t\t\tonly in {mark}" for mark, found in sides(d) for n, s in found.items()]
    lines += [f"{n}\t\t{_shape(a)}\t\t\tB has {_shape(b)}" for n, (a, b) in d.mismatched.items()]
    return "\n".join(lines)


def headline(d: WeightDifference) -> list[str]:
    """Whether they differ, and by how much in all."""
    total, n = d.total, d.total.tally
    if d.is_equal:
        return [f"  weights   equal to the bit: all {total.tensors} tensors, {human_count(n.numel)} elements"]
    apart = f"{total.differing} of {total.tensors} tensors differ" if total.differing else "no value differs"
    bits = f", {total.other_bits} hold the same values in other bits or another dtype" if total.other_bits else ""
    lines = [f"  weights   {apart}{bits} · {changed(n.changed, n.numel)} elements changed"]
    if total.differing:
        where = max((t for t in d.tensors), key=lambda t: t.tally.largest)
        size = f"{number(n.relative)} of A · largest |Δ| {number(n.largest)} in {where.name}"
        lines.append(f"  size      |B − A| is {size} · cosine {cosine(n.cosine)}")
    if n.not_finite:
        are = "element is" if n.not_finite == 1 else "elements are"
        lines.append(f"  NaN       {n.not_finite:,} {are} NaN or infinite on one side, and in no sum")
    if d.rounding is not None:
        lines += [f"  {'rounding' if i == 0 else '        '}  {told}" for i, told in enumerate(d.rounding.lines())]
    if d.config:
        told = [f"{k} {clean(a, 40)} → {clean(b, 40)}" for k, (a, b) in list(d.config.items())[:4]]
        rest = f" and {len(d.config) - 4} more" if len(d.config) > 4 else ""
        lines.append(f"  config    {', '.join(told)}{rest}")
    return lines


def worst(d: WeightDifference) -> list[TensorChange]:
    """The tensors that differ, the most changed first."""
    found = [t for t in d.tensors if t.verdict == "differs"]

    def size(t: TensorChange) -> float:
        return math.inf if t.tally.not_finite or t.tally.relative is None else t.tally.relative

    return sorted(found, key=lambda t: (-size(t), t.name))


def cells(total: Total) -> tuple[str, ...]:
    """The columns of HEAD in words."""
    n = total.tally
    counts = (f"{total.tensors:,}", f"{total.differing:,}" if total.differing else "0")
    return (*counts, changed(n.changed, n.numel), mark(total), number(n.largest), cosine(n.cosine))


def mark(total: Total | None) -> str:
    """The relative difference; = where all is equal to the bit, NaN where a side has a value that is no number."""
    if total is None:
        return ""
    if total.tally.not_finite:
        return "NaN"
    return number(total.tally.relative) if total.differing or total.other_bits else "="


def changed(count: int, total: int) -> str:
    """1.2M of 8.03B (0.02%)."""
    if count in (0, total):
        return "all" if count else "none"
    share = 100 * count / total
    return f"{human_count(count)} of {human_count(total)} ({share:.2g}%)" if share < 99.5 else f"{share:.5g}%"


def number(value: float | None) -> str:
    """Three digits; what does not exist is a dash."""
    return "–" if value is None else "0" if value == 0 else f"{value:.2e}" if value < 1e-2 else f"{value:.3g}"


def cosine(value: float | None) -> str:
    """Enough digits to tell 1 from nearly 1."""
    if value is None:
        return "–"
    return f"{value:.6f}" if value < 0.9999995 else "1 − " + f"{1 - value:.0e}" if value < 1 else "1"


def dtypes(t: TensorChange) -> str:
    """One dtype, or A's and B's."""
    a, b = t.dtypes
    return a if a == b else f"{a} → {b}"


def sides(d: WeightDifference) -> tuple[tuple[str, dict[str, Shape]], ...]:
    """What only one of the two has."""
    return ("A", d.only_a), ("B", d.only_b)


def columns(d: WeightDifference) -> list[str]:
    """The roles that stand in layers or outside, in order."""
    return list(d.by_role)


def _side(letter: str, side: ComparedWeights) -> str:
    kinds = ", ".join(f"{dtype} ({count})" for dtype, count in side.dtypes.items())
    return f"  {letter}         {side.name} · {side.family} · {side.format} · {side.num_tensors} weights · {kinds}"


def _layers(d: WeightDifference) -> Iterator[tuple[str, ...]]:
    """A row for each layer; neighbours that are equal in all share one."""
    yield ("", *columns(d))
    runs: list[tuple[str, int | None, int | None, tuple[str, ...]]] = []
    for stack, layer in d.by_layer:
        row = tuple(mark(d.cells.get((stack, layer, role))) for role in columns(d))
        last = runs[-1] if runs else None
        if last and layer is not None and last[0] == stack and last[3] == row and set(row) <= {"=", ""}:
            runs[-1] = (stack, last[1], layer, row)
        else:
            runs.append((stack, layer, layer, row))
    for stack, first, end, row in runs:
        numbers = str(first) if first == end else f"{{{first}..{end}}}"
        yield (f"{stack}.{numbers}" if stack else "outside the layers", *row)


def _without(d: WeightDifference) -> list[str]:
    """What was not compared, layers of one kind in a line."""
    lines = []
    for letter, found in sides(d):
        by_shape: dict[Shape, list[str]] = {}
        for name, shape in found.items():
            by_shape.setdefault(shape, []).append(name)
        lines += [f"  only in {letter}  {n}  {_shape(s)}" for s, names in by_shape.items() for n in grouped(names)]
    by_shapes: dict[tuple[Shape, Shape], list[str]] = {}
    for name, shapes in d.mismatched.items():
        by_shapes.setdefault(shapes, []).append(name)
    for (a, b), names in by_shapes.items():
        lines += [f"  shape      {name}  A {_shape(a)}, B {_shape(b)}" for name in grouped(names)]
    return ["", *lines] if lines else []


def _shape(shape: Shape) -> str:
    return str([*shape])


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows whose first column stands left and the others right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    cut = [
        "  ".join(
            f"{cell:{w}}" if i == 0 else f"{cell:>{w}}" for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return [f"  {line}".rstrip() for line in cut]
