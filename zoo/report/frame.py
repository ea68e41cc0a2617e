"""What a page is put together from: one HTML file that needs no network and no script, with sheets and cards."""

from __future__ import annotations

from collections.abc import Sequence

from zoo.errors import UsageError
from zoo.report.palette import LIGHT
from zoo.report.style import style
from zoo.report.svg import Markup, element
from zoo.report.table import Row

POLICY = "default-src 'none'; style-src 'unsafe-inline'"  # nothing is fetched, nothing runs


def document(title: str, count: int, *parts: Markup) -> str:
    """A whole page about `count` models. Raises UsageError for more than there are colours."""
    check_colours(count)
    head = Markup(
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        + element("title", title)
        + element("style", Markup(style(count)))
    )
    body = element("main", *parts)
    return f'<!doctype html>\n<html lang="en">{element("head", head)}{element("body", body)}</html>\n'


def check_colours(count: int) -> None:
    """Raise UsageError for more models than there are colours."""
    if count > len(LIGHT.models):
        raise UsageError(f"the report has colours for {len(LIGHT.models)} models, not for {count}")


def about(text: str) -> Markup:
    """A line that says what is shown."""
    return element("p", text, class_="about")


def sheet(names: Sequence[str], rows: Sequence[Row], plain: str, aria_label: str) -> Markup:
    """A table with a column for each name, bars beside numbers; the first section is headed unless it is `plain`."""
    heads = [element("th", dot(i), name, scope="col", class_=f"m{i}") for i, name in enumerate(names)]
    head = element("thead", element("tr", element("td"), *heads))
    lines, section = [], plain
    for row in rows:
        if row.section != section:
            section = row.section
            title = element("th", section, scope="colgroup")
            lines.append(element("tr", title, *(element("td") for _ in names), class_="section"))
        cells = [element("td", row.texts[i], *_bar(row, i), class_=f"m{i}") for i in range(len(names))]
        name = element("th", f"= {row.label}" if row.is_same else row.label, scope="row")
        lines.append(element("tr", name, *cells, class_=_kind(row)))
    table = element("table", head, element("tbody", *lines))
    box = element("div", table, class_="scroll", role="region", tabindex=0, aria_label=aria_label)
    if len(names) < 3:
        return box
    return Markup(element("p", f"{len(names)} columns: swipe the table to see all →", class_="about hint") + box)


def figure(title: str, drawn: Sequence[Markup], words: str = "") -> list[Markup]:
    """A heading, what is to be said, and drawings over the whole width; nothing where nothing is drawn."""
    if not drawn:
        return []
    heading = element("h2", title, id=title.lower().replace(" ", "-"))
    return [heading, *([about(words)] if words else []), element("figure", *drawn, class_="card whole")]


def cards(inside: Sequence[Markup], class_: str = "cards") -> Markup:
    """Cards side by side."""
    return element("div", *inside, class_=class_)


def card(i: int, name: str, *inside: Markup) -> Markup:
    """A card in the colour of the i-th model, headed by its name."""
    return element("figure", element("h3", dot(i), name), *inside, class_=f"card m{i}")


def dot(i: int) -> Markup:
    """A spot in the colour of the i-th model."""
    return element("span", class_=f"dot m{i}")


def _kind(row: Row) -> str:
    return " ".join(word for word, holds in (("part", row.is_part), ("same", row.is_same)) if holds)


def _bar(row: Row, i: int) -> list[Markup]:
    """A bar as long as the number is beside the largest of its row."""
    if not row.is_number or not row.values[i]:
        return []
    share = row.values[i] / max(value or 0 for value in row.values)
    return [element("span", class_="bar", style=f"width:{share:.1%}")]
