"""The report on a run: one HTML file that needs no network and no script."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from zoo.report import frame
from zoo.report.axis import counted, fractions
from zoo.report.chart import Frame, Line, both, chart
from zoo.report.svg import Markup, element
from zoo.report.table import Row
from zoo.units import human_bytes, human_count
from zoo.version import __version__

MOST = 600  # points of a line; more are thinned to their means
PICTURES = {  # what is drawn, in this order, where the records have it
    "loss": "Loss", "validation": "Loss on held-out data", "lr": "Learning rate", "grad_norm": "Gradient norm",
    "margin": "Margin", "accuracy": "Accuracy", "reward": "Reward", "answer_tokens": "Tokens of an answer",
    "divergence": "Divergence from the teacher",
}  # fmt: skip
Samples = Sequence[tuple[str, str]]  # prompts, and how the model goes on


def page(name: str, records: Sequence[Mapping[str, Any]], recipe: Mapping[str, Any], samples: Samples = ()) -> str:
    """The whole page about a run by its records; `name` is what the run is called."""
    title = f"{name} trained by zoo"
    parts = [element("h1", name), frame.about(_about(records, recipe))]
    for key, words in PICTURES.items():
        parts += frame.figure(words, _curve(words, [(r["step"], r[key]) for r in records if _is_number(r.get(key))]))
    parts += _spoken(samples)
    parts += [element("h2", "The recipe", id="recipe"), _settings(recipe)]
    parts.append(
        element("footer", element("p", f"zoo {__version__}. Losses are nats per label, means over an update."))
    )
    return frame.document(title, 1, *parts)


def _about(records: Sequence[Mapping[str, Any]], recipe: Mapping[str, Any]) -> str:
    words = [f"objective {recipe['objective']['name']}"]
    if records:
        last, tokens = records[-1], sum(r.get("tokens", 0) for r in records)
        seconds = sum(r.get("seconds", 0.0) for r in records)
        words += [f"{last['step']:,} of {recipe['train']['steps']:,} steps", f"{human_count(tokens)} tokens read"]
        words += [f"{human_count(tokens / seconds)} tokens per second"] if seconds else []
        words += [f"{human_bytes(last['memory_bytes'])} of memory at most"] if "memory_bytes" in last else []
    return " · ".join(words)


def _curve(title: str, points: list[tuple[int, float]]) -> Sequence[Markup]:
    """A line over the steps; nothing where there are not two points."""
    if len(points) < 2:
        return []
    line = Line(0, title.lower(), tuple(_thinned(points)))
    values = [y for _, y in line.points]

    def draw(frame: Frame) -> Markup:
        x, y = counted(points[-1][0], *frame.x), fractions(min(values), max(values), *frame.y)
        return chart(title.lower(), [line], x, y, frame, across="step")

    return both(draw, [line])


def _thinned(points: list[tuple[int, float]]) -> list[tuple[float, float]]:
    """Means over as few neighbours as leave `MOST` points."""
    width = math.ceil(len(points) / MOST)
    runs = [points[i : i + width] for i in range(0, len(points), width)]
    return [(sum(x for x, _ in run) / len(run), sum(y for _, y in run) / len(run)) for run in runs]


def _spoken(samples: Samples) -> list[Markup]:
    if not samples:
        return []
    cards = [frame.card(0, prompt, element("p", text, class_="text")) for prompt, text in samples]
    words = "Greedy continuations, by the weights of the last step."
    return [element("h2", "What it says", id="samples"), frame.about(words), frame.cards(cards, "cards texts")]


def _settings(recipe: Mapping[str, Any]) -> Markup:
    rows = []
    for section, values in recipe.items():
        found = values if isinstance(values, Mapping) else {"": values}
        for key, value in found.items():
            rows.append(Row(section, key or section, (str(value),), ("null" if value is None else str(value),)))
    return frame.sheet(["value"], rows, plain="", aria_label="the settings of the run")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
