"""The report: one HTML file that needs no network and no script."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from shlex import quote

from zoo.anatomy.adapters import RANK
from zoo.comparison import Comparison, Row, Subject
from zoo.comparison.record import LENGTH
from zoo.comparison.rows import short
from zoo.errors import UsageError, clean
from zoo.report.attention import TOKENS, Look, look
from zoo.report.block import block
from zoo.report.lines import cache_growth, losses, wavelengths
from zoo.report.mask import grid
from zoo.report.palette import LIGHT
from zoo.report.spelled import STEPS, spelled
from zoo.report.style import style
from zoo.report.svg import Markup, element
from zoo.report.table import same
from zoo.report.treemap import legend, treemap
from zoo.units import human_count
from zoo.version import __version__

POLICY = "default-src 'none'; style-src 'unsafe-inline'"  # nothing is fetched, nothing runs


def page(c: Comparison) -> str:
    """The whole page. Raises UsageError for more models than there are colours."""
    count = len(c.subjects)
    if count > len(LIGHT.models):
        raise UsageError(f"the report has colours for {len(LIGHT.models)} models, not for {count}")
    looks = [look(s) for s in c.subjects]
    names = ", ".join(s.name for s in c.subjects)
    head = Markup(
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        + element("title", f"{names} compared by zoo")
        + element("style", Markup(style(count)))
    )
    body = element("main", *_title(c), *_table(c), *_measured(c), *_pictures(c, looks), _footer(c))
    return f'<!doctype html>\n<html lang="en">{element("head", head)}{element("body", body)}</html>\n'


def _title(c: Comparison) -> list[Markup]:
    options = [] if c.length == LENGTH else ["--length", str(c.length)]
    options += [] if c.lora_rank == RANK else ["--rank", str(c.lora_rank)]
    options += ["--dtype", c.dtype] if c.dtype else []
    command = " ".join(["zoo compare", *(quote(s.name) for s in c.subjects), *options])
    chips = [
        element("li", _dot(i), element("strong", s.name), f" {s.description}", class_=f"m{i}")
        for i, s in enumerate(c.subjects)
    ]
    return [
        element("h1", Markup(" · ".join(element("span", s.name, **_kept(s.name)) for s in c.subjects))),
        element("p", element("code", f"{command} --html"), " · worked out from the configs; ",
                "weights were read for what was measured" if c.measurements else "no weights needed", class_="about"),
        element("ul", *chips, class_="names"),
    ]  # fmt: skip


def _table(c: Comparison) -> list[Markup]:
    told = [element("h2", "What differs", id="differs"), _sheet(c, c.differing)]
    if c.same:
        told.append(element("p", element("strong", "Same in all: "), f"{same(c)}."))
    told.append(element("p", "A bar compares a number with the largest of its row.", class_="about"))
    return told + [element("p", f"Note: {note}.", class_="about") for note in c.notes]


def _measured(c: Comparison) -> list[Markup]:
    if not (m := c.measurements):
        return []
    told = [element("h2", "What was measured", id="measured"), _sheet(c, m.rows)]
    told += [element("p", f"{note}.", class_="about") for note in m.notes]
    told += _figure("Loss per token", losses(c))
    return told + _texts(c, m.pieces)


def _texts(c: Comparison, pieces: Sequence[Sequence[tuple[str, float]] | None]) -> list[Markup]:
    """The beginning of the text under each model's eyes."""
    cards = [_card(c, i, spelled(found)) for i, found in enumerate(pieces) if found]
    if not cards:
        return []
    about = f"Coloured from {STEPS[0]:g}, {STEPS[1]:g} and {STEPS[2]:g} nats on: the stronger, the less expected."
    title = element("h2", "The text as each model met it", id="text")
    return [title, element("p", about, class_="about"), _cards(cards, "cards texts")]


def _sheet(c: Comparison, rows: Sequence[Row]) -> Markup:
    heads = [element("th", _dot(i), s.name, scope="col", class_=f"m{i}") for i, s in enumerate(c.subjects)]
    head = element("thead", element("tr", element("td"), *heads))
    lines, section = [], "model"
    for row in rows:
        if row.section != section:
            section = row.section
            title = element("th", section, scope="colgroup")
            lines.append(element("tr", title, *(element("td") for _ in c.subjects), class_="section"))
        cells = [element("td", row.texts[i], *_bar(row, i), class_=f"m{i}") for i in range(len(c.subjects))]
        lines.append(element("tr", element("th", row.label, scope="row"), *cells, class_="part" if row.is_part else ""))
    table = element("table", head, element("tbody", *lines))
    return element("div", table, class_="scroll", role="region", tabindex=0, aria_label="table of what differs")


def _bar(row: Row, i: int) -> list[Markup]:
    """A bar as long as the number is beside the largest of its row."""
    if not row.is_number or not row.values[i]:
        return []
    share = row.values[i] / max(value or 0 for value in row.values)
    return [element("span", class_="bar", style=f"width:{share:.1%}")]


def _pictures(c: Comparison, looks: Sequence[Look]) -> Iterable[Markup]:
    blocks = [(i, block(s)) for i, s in enumerate(c.subjects)]
    yield element("h2", "One layer, side by side", id="layers")
    yield _cards([_card(c, i, drawn) for i, drawn in blocks if drawn])
    yield element("h2", "Where the parameters are", id="parameters")
    maps = [(i, treemap(s), s) for i, s in enumerate(c.subjects)]
    yield _cards([_card(c, i, drawn, legend(s), about=_total(s)) for i, drawn, s in maps if drawn])
    yield from _figure(
        "Cache growth",
        cache_growth(c),
        f"Bytes of one row's cache in {c.dtype or 'the dtype of the released weights'}. A line is dashed beyond the "
        f"context that its model is made for; the dotted mark is {short(c.length)} tokens.",
    )
    yield from _masks(c, looks)
    yield from _figure(
        "Rotary wavelengths",
        wavelengths(c, looks),
        "Tokens after which a pair of channels has turned once, by the frequencies that the model's own modules hold.",
    )


def _masks(c: Comparison, looks: Sequence[Look]) -> Iterable[Markup]:
    cards = [
        _card(c, i, grid(f"who attends to whom in {c.subjects[i].name}, {p.title}", p.shades),
              element("figcaption", f"{p.title}{': ' if p.caption else ''}{p.caption}"))
        for i, found in enumerate(looks)
        for p in found.masks
    ]  # fmt: skip
    if cards:
        yield element("h2", "Who attends to whom", id="masks")
        yield element("p", f"{TOKENS} tokens, drawn by the model's own mask code.", class_="about")
        yield _cards(cards, "cards small")


def _figure(title: str, drawn: Sequence[Markup], about: str = "") -> list[Markup]:
    if not drawn:
        return []
    told = [element("p", about, class_="about")] if about else []
    heading = element("h2", title, id=title.lower().replace(" ", "-"))
    return [heading, *told, element("figure", *drawn, class_="card whole")]


def _cards(cards: Sequence[Markup], class_: str = "cards") -> Markup:
    return element("div", *cards, class_=class_)


def _card(c: Comparison, i: int, *inside: Markup, about: str = "") -> Markup:
    return element("figure", element("h3", _dot(i), c.subjects[i].name + about), *inside, class_=f"card m{i}")


def _total(s: Subject) -> str:
    return f" · {human_count(s.size.parameters)}" if s.size else ""


def _kept(name: str) -> dict[str, str]:
    """A short name is not broken over two lines."""
    return {"class_": "nb"} if len(name) <= 24 else {}


def _dot(i: int) -> Markup:
    return element("span", class_=f"dot m{i}")


def _footer(c: Comparison) -> Markup:
    sources = sorted({clean(s.config.source, 200) for s in c.subjects if s.config.source})
    told = [
        f"zoo {__version__}. Counts, bytes and FLOPs are arithmetic on the configs; a multiplication and an addition "
        "are two FLOPs. Training is AdamW without sharding or recomputation, after arXiv:1910.02054 and "
        "arXiv:2205.05198; LoRA after arXiv:2106.09685; the tokens it is best trained on after arXiv:2203.15556.",
        *([f"Sources: {'; '.join(sources)}."] if sources else []),
    ]
    return element("footer", *(element("p", text) for text in told))
