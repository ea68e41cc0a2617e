"""A few facts as a notebook shows them: a small table in the notebook's own colours, light or dark."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from zoo.errors import clean
from zoo.report.svg import Markup, element

RULE = "border-top:1px solid rgba(128,128,128,.35)"  # seen on white and on black
CELL = f"text-align:left;vertical-align:top;padding:2px 16px 2px 0;color:inherit;background:transparent;{RULE}"
MOST = 1000  # letters of a text


def facts(title: str, rows: Iterable[Sequence[str]], ends: Iterable[str] = (), *, is_bad: bool = False) -> Markup:
    """A title, rows of a name and what belongs to it, and lines below; `is_bad` marks them with a red edge.

    Whatever the texts hold, they are shown as text. Nothing is fetched, and no style of the notebook is changed.
    """
    lines = [element("tr", *(_cell(i, text) for i, text in enumerate(row))) for row in rows]
    told = [element("p", clean(line, MOST), style="margin:4px 0") for line in ends]
    table = element("table", *lines, style="border-collapse:collapse;margin:4px 0;color:inherit")
    edge = "#d64545" if is_bad else "rgba(128,128,128,.6)"
    return element(
        "div", element("p", element("b", clean(title, MOST)), style="margin:0"), table, *told,
        style=f"border-left:3px solid {edge};padding:4px 12px;color:inherit;font-size:13px",
    )  # fmt: skip


def _cell(number: int, text: str) -> Markup:
    return element("td" if number else "th", clean(text, MOST), style=CELL)
