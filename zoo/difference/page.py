"""The page on a difference: a picture of where it lies, and the numbers; one HTML file without network or script."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from shlex import quote

from zoo.difference.picture import by_layer_and_role
from zoo.difference.record import ComparedWeights, Total, WeightDifference
from zoo.difference.table import HEAD, cells, dtypes, headline, sides, worst
from zoo.report import frame
from zoo.report.svg import Markup, element
from zoo.version import __version__

MOST = 200  # tensors that a page names


def page(d: WeightDifference) -> str:
    """The whole page."""
    title = f"{d.a.name} and {d.b.name}: weights compared by zoo"
    parts = [*_title(d), *_where(d), *_sums(d), *_tensors(d), *_without(d)]
    words = (
        "Relative: the Frobenius norm of B − A in that of A. Sums are taken in float64, a block at a time. "
        "NaN and infinity are counted as changed and enter no sum."
    )
    return frame.document(title, 2, *parts, element("footer", element("p", f"zoo {__version__}. {words}")))


def _title(d: WeightDifference) -> list[Markup]:
    chips = [
        element("li", frame.dot(i), element("strong", f"{letter} "), _side(side), class_=f"m{i}")
        for i, (letter, side) in enumerate((("A", d.a), ("B", d.b)))
    ]
    told = [line.strip().partition(" ") for line in headline(d)]
    return [
        element("h1", f"{d.a.name} → {d.b.name}"),
        element("p", element("code", f"zoo diff {quote(d.a.name)} {quote(d.b.name)} --html"), class_="about"),
        element("ul", *chips, class_="names"),
        *(element("p", element("strong", f"{word}: "), text.strip()) for word, _, text in told),
        *(frame.about(f"Note: {note}.") for note in d.notes),
    ]


def _side(side: ComparedWeights) -> str:
    kinds = ", ".join(f"{dtype} ({count})" for dtype, count in side.dtypes.items())
    return f"{side.name} · {side.family} · {side.format} · {side.num_tensors} weights · {kinds}"


def _where(d: WeightDifference) -> Iterator[Markup]:
    yield element("h2", "Where they differ", id="where")
    yield frame.about("Relative difference of each role in each layer; a cell's numbers stand under the mouse.")
    yield from by_layer_and_role(d)


def _sums(d: WeightDifference) -> list[Markup]:
    rows = [(role, *cells(total)) for role, total in d.by_role.items()]
    return [element("h2", "By role", id="roles"), _table(("", *HEAD), [*rows, ("all", *cells(d.total))], "by role")]


def _tensors(d: WeightDifference) -> list[Markup]:
    found = worst(d)
    if not found:
        return []
    rows = [(t.name, *cells(Total.of([t]))[2:], dtypes(t), str([*t.shape])) for t in found[:MOST]]
    told = [element("h2", "Most changed", id="tensors"), _table(("", *HEAD[2:], "dtypes", "shape"), rows, "by tensor")]
    rest = len(found) - MOST
    return told + ([frame.about(f"And {rest:,} more: zoo diff --json tells all.")] if rest > 0 else [])


def _without(d: WeightDifference) -> list[Markup]:
    rows = [(name, f"only in {letter}", str([*shape])) for letter, found in sides(d) for name, shape in found.items()]
    rows += [(name, "another shape", f"A {[*a]}, B {[*b]}") for name, (a, b) in d.mismatched.items()]
    if not rows:
        return []
    return [element("h2", "Without a counterpart", id="without"), _table(("", "why", "shape"), rows, "not compared")]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], aria_label: str) -> Markup:
    top = element("tr", element("td"), *(element("th", name, scope="col") for name in head[1:]))
    lines = [
        element("tr", element("th", row[0], scope="row"), *(element("td", cell) for cell in row[1:])) for row in rows
    ]
    table = element("table", element("thead", top), element("tbody", *lines))
    return element("div", table, class_="scroll", role="region", tabindex=0, aria_label=aria_label)
