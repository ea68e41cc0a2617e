"""What was measured, as records that tables, JSON and pictures are made of. Needs no torch until one is filled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from zoo.report.table import Row
from zoo.units import human_bytes, human_count

if TYPE_CHECKING:
    from zoo.measurement.agreement import Agreement
    from zoo.measurement.continuations import Continuation
    from zoo.measurement.perplexity import Reading

SHOWN_TOKENS = 160  # of the text, in JSON and pictures


@dataclass
class Measured:
    """One model's numbers; `reason` says why there are none."""

    source: str
    reason: str = ""
    family: str = ""
    dtype: str = ""  # that it was computed in
    reading: Reading | None = None
    agreement: Agreement | None = None  # with the first model
    unlike: str = ""  # why there is no agreement to speak of
    continuations: list[Continuation] = field(default_factory=list)
    speed: dict[str, Any] | None = None  # as zoo bench tells it: see zoo.measurement.speed.benchmark

    def to_dict(self) -> dict[str, Any]:
        """Everything but the single tokens, as JSON values; what there is none of is left out."""
        told: dict[str, Any] = {"source": self.source}
        if self.reason:
            return told | {"reason": self.reason}
        told |= {"family": self.family, "dtype": self.dtype}
        if self.reading is not None:
            told |= {"text": self.reading.to_dict()}
        if self.agreement is not None:
            told |= {"against_first": self.agreement.to_dict()}
        if self.unlike:
            told |= {"unlike": self.unlike}
        return told | {"continuations": [c.to_dict() for c in self.continuations], "speed": self.speed}

    def pieces(self, most: int = SHOWN_TOKENS) -> list[tuple[str, float]]:
        """The first predicted tokens: each one's piece of the text, and its loss in nats."""
        if self.reading is None:
            return []
        passage, losses = self.reading.passage, self.reading.losses
        places = passage.offsets[passage.first : passage.first + most]
        ends = [start for start, _ in places[1:]] + [places[-1][1]]
        return [
            (passage.text[start : max(start, end)], round(float(loss), 4))
            for (start, _), end, loss in zip(places, ends, losses[:most], strict=True)
        ]


@dataclass
class Measurements:
    """Models measured on one text; the first is the one that the others are compared with."""

    text: str  # its name
    models: list[Measured]
    window: int = 0  # tokens that each model sees at once
    stride: int = 0
    environment: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON values; `tokens` holds the first of the text's tokens with their losses."""
        return {
            "text": self.text,
            "window": self.window,
            "stride": self.stride,
            "models": [m.to_dict() | {"tokens": m.pieces()} for m in self.models],
            "environment": self.environment,
        }

    def rows(self) -> list[Row]:
        """What a table shows, a value and its words for each model. Rows that say nothing are left out."""
        made = []
        for label, value, show, is_number in ROWS:
            values = tuple(None if m.reason else value(m) for m in self.models)
            if any(v is not None for v in values):
                texts = tuple("" if v is None else show(v) for v in values)
                made.append(Row("measured", label, values, texts, is_number))
        return made

    def notes(self) -> list[str]:
        """How they were measured, and what could not be had, a line each."""
        lines = [f"{m.source}: {m.reason or m.unlike}" for m in self.models if m.reason or m.unlike]
        if self.window:
            lines.insert(0, f"{self.text} was read in windows of {self.window:,} tokens, {self.stride:,} apart")
        for m in self.models:
            if m.agreement is not None and len(m.agreement.kl) < len(m.agreement.same):
                lines.append(f"{m.source}: KL over the first {len(m.agreement.kl):,} tokens")
        return lines


def _read(name: str) -> Callable[[Measured], Any]:
    return lambda m: None if m.reading is None else m.reading.to_dict()[name]


def _agreed(name: str) -> Callable[[Measured], Any]:
    return lambda m: None if m.agreement is None else m.agreement.to_dict()[name]


def _fast(*path: str) -> Callable[[Measured], Any]:
    def value(m: Measured) -> Any:
        found: Any = m.speed
        for name in path if found is not None else ():
            found = found[name]
        return found

    return value


def _parting(way: str) -> Callable[[Measured], Any]:
    def value(m: Measured) -> Any:
        places = [c.parts_at for c in m.continuations if c.way == way]
        return places if m.agreement is not None and places else None

    return value


def _places(found: Sequence[int | None]) -> str:
    if all(place is None for place in found):
        return "never"
    return ", ".join("never" if place is None else f"{place}" for place in found)


def _rate(number: float) -> str:
    return f"{human_count(number)} tok/s"


ROWS: Sequence[tuple[str, Callable[[Measured], Any], Callable[[Any], str], bool]] = (  # True: bars show its proportions
    ("computed in", lambda m: m.dtype, str, False),
    ("tokens of text", _read("tokens"), "{:,}".format, False),
    ("perplexity", _read("perplexity"), "{:,.2f}".format, True),
    ("bits per byte", _read("bits_per_byte"), "{:.4f}".format, True),
    ("loss, nats per token", _read("loss"), "{:.4f}".format, False),
    ("loss above the first's", _agreed("loss_difference"), "{:+.2g}".format, False),
    ("KL(first to this), nats per token", _agreed("kl"), "{:.2g}".format, True),
    ("same next token", _agreed("agreement"), "{:.2%}".format, False),
    ("greedy text differs at token", _parting("greedy"), _places, False),
    ("seeded text differs at token", _parting("seeded"), _places, False),
    ("prefill", _fast("prefill", "median"), _rate, True),
    ("decode", _fast("decode", "median"), _rate, True),
    ("peak memory", _fast("memory", "peak_bytes"), human_bytes, True),
)
