"""The report on a comparison: one HTML file that needs no network and no script."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from shlex import quote

from zoo.anatomy.adapters import RANK
from zoo.anatomy.size import Size
from zoo.comparison.attention import TOKENS, Look, look
from zoo.comparison.lines import cache_growth, losses, wavelengths
from zoo.comparison.record import LENGTH, Comparison
from zoo.comparison.subject import ComparedModel
from zoo.comparison.table import same
from zoo.errors import clean
from zoo.report import frame
from zoo.report.block import block
from zoo.report.frame import about
from zoo.report.mask import grid
from zoo.report.spelled import STEPS, spelled
from zoo.report.svg import Markup, element
from zoo.report.table import Row
from zoo.report.treemap import legend, treemap
from zoo.units import human_count, human_length
from zoo.version import __version__


def page(c: Comparison) -> str:
    """The whole page. Raises UsageError for more models than there are colours."""
    frame.check_colours(len(c.subjects))
    looks = [look(s) for s in c.subjects]
    title = f"{', '.join(s.name for s in c.subjects)} compared by zoo"
    parts = (*_title(c), *_blocks(c), *_table(c), *_measured(c), *_pictures(c, looks), _footer(c))
    return frame.document(title, len(c.subjects), *parts)


def _title(c: Comparison) -> list[Markup]:
    options = [] if c.length == LENGTH else ["--length", str(c.length)]
    options += [] if c.lora_rank == RANK else ["--lora-rank", str(c.lora_rank)]
    options += ["--bytes-dtype", c.bytes_dtype] if c.bytes_dtype else []
    command = " ".join(["zoo compare", *(quote(s.name) for s in c.subjects), *options])
    chips = [
        element("li", frame.dot(i), element("strong", s.name), f" {s.description}", class_=f"m{i}")
        for i, s in enumerate(c.subjects)
    ]
    return [
        element("h1", Markup(" · ".join(element("span", s.name, **_kept(s.name)) for s in c.subjects))),
        element("p", element("code", f"{command} --html"), " · computed from the configs; ",
                "weights were read for the measurements" if c.measurements else "no weights needed", class_="about"),
        element("ul", *chips, class_="names"),
    ]  # fmt: skip


def _table(c: Comparison) -> list[Markup]:
    told = [element("h2", "What differs", id="differs"), _sheet(c, c.differing)]
    if c.same:
        told.append(element("p", element("strong", "Same in all: "), f"{same(c)}."))
        words = f"The {len(c.same)} rows that are the same" if len(c.same) > 1 else "The row that is the same"
        told.append(element("details", element("summary", words), _sheet(c, c.same)))
    told.append(about("A bar compares a number with the largest of its row."))
    return told + [about(f"Note: {note}.") for note in c.notes]


def _measured(c: Comparison) -> list[Markup]:
    if not (m := c.measurements):
        return []
    told = [element("h2", "What was measured", id="measured"), _sheet(c, m.rows)]
    told += [about(f"{note}.") for note in m.notes]
    told += _errors(c)
    told += frame.figure("Loss per token", losses(c))
    return told + _texts(c, m.pieces)


def _errors(c: Comparison) -> Iterable[Markup]:
    """Where the error of rounding lies, for each model that is the first one rounded, or the other way round."""
    from zoo.difference.picture import by_layer_and_role

    found = c.measurements.roundings if c.measurements else ()
    for i, d in enumerate(found):
        if d is not None:
            yield element("h3", f"{c.subjects[i].name} against {c.subjects[0].name}: relative error by layer and role")
            yield from by_layer_and_role(d)


def _texts(c: Comparison, pieces: Sequence[Sequence[tuple[str, float]] | None]) -> list[Markup]:
    """The beginning of the text under each model's eyes."""
    cards = [frame.card(i, c.subjects[i].name, spelled(found)) for i, found in enumerate(pieces) if found]
    if not cards:
        return []
    words = f"Coloured from {STEPS[0]:g}, {STEPS[1]:g} and {STEPS[2]:g} nats on: the stronger, the less expected."
    title = element("h2", "The text as each model reads it", id="text")
    return [title, about(words), frame.cards(cards, "cards texts")]


def _sheet(c: Comparison, rows: Sequence[Row]) -> Markup:
    return frame.sheet([s.name for s in c.subjects], rows, plain="model", aria_label="table of what differs")


def _blocks(c: Comparison) -> list[Markup]:
    drawn = [(i, s, block(s.name, _layers(s), _traits(s))) for i, s in enumerate(c.subjects)]
    cards = [frame.card(i, s.name, picture) for i, s, picture in drawn if picture]
    return [element("h2", "One layer, side by side", id="layers"), frame.cards(cards)] if cards else []


def _pictures(c: Comparison, looks: Sequence[Look]) -> Iterable[Markup]:
    yield element("h2", "Where the parameters are", id="parameters")
    yield about("Areas are in proportion, from model to model too.")
    most = max((s.size.parameters for s in c.subjects if s.size), default=1)
    yield frame.cards([_shares(i, s, s.size, most) for i, s in enumerate(c.subjects) if s.size])
    yield from frame.figure(
        "Cache growth",
        cache_growth(c),
        f"Bytes of one row's cache in {c.bytes_dtype or 'the dtype of the released weights'}. A line is dashed beyond "
        f"the context that its model is made for; the dotted mark is {human_length(c.length)} tokens.",
    )
    yield from _masks(c, looks)
    yield from frame.figure(
        "Rotary wavelengths",
        wavelengths(c, looks),
        "Tokens after which a pair of channels has rotated once, by the frequencies that the model's own modules hold.",
    )


def _masks(c: Comparison, looks: Sequence[Look]) -> Iterable[Markup]:
    cards = [
        frame.card(
            i, c.subjects[i].name, grid(f"who attends to whom in {c.subjects[i].name}, {p.title}", p.shades),
            element("figcaption", f"{p.title}{': ' if p.caption else ''}{p.caption}"),
        )
        for i, found in enumerate(looks)
        for p in found.masks
    ]  # fmt: skip
    if cards:
        yield element("h2", "Who attends to whom", id="masks")
        yield about(f"{TOKENS} tokens, drawn by the model's own mask code.")
        yield frame.cards(cards, "cards small")


def _shares(i: int, s: ComparedModel, size: Size, most: int) -> Markup:
    """A card of the roles that a model's parameters have."""
    name, roles = f"{s.name} · {human_count(size.parameters)}", size.by_role
    return frame.card(i, name, treemap(f"parameters of {s.name} by role", roles, most=most), legend(roles))


def _traits(s: ComparedModel) -> dict[str, str]:
    return s.size.anatomy.traits if s.size else {}


def _layers(s: ComparedModel) -> str:
    """How many layers there are, and with experts."""
    count = getattr(s.config, "num_layers", None)
    if s.size is None or count is None:
        return "its layers"
    with_experts = {i for w in s.size.anatomy.weights if w.role == "experts" for i in w.layers or ()}
    mixed = f", {len(with_experts)} with experts" if 0 < len(with_experts) < count else ""
    return f"{count} layers{mixed}"


def _kept(name: str) -> dict[str, str]:
    """A short name is not broken over two lines."""
    return {"class_": "nb"} if len(name) <= 24 else {}


def _footer(c: Comparison) -> Markup:
    sources = sorted({clean(s.config.source, 200) for s in c.subjects if s.config.source})
    told = [
        f"zoo {__version__}. Counts, bytes and FLOPs are arithmetic on the configs; a multiplication and an addition "
        "are two FLOPs. Training is AdamW without sharding or recomputation, after arXiv:1910.02054 and "
        "arXiv:2205.05198; LoRA after arXiv:2106.09685; the tokens it is best trained on after arXiv:2203.15556.",
        *([f"Sources: {'; '.join(sources)}."] if sources else []),
    ]
    return element("footer", *(element("p", text) for text in told))
