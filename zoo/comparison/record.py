"""A comparison: the models, the facts, what was measured of them, and how to show it all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.anatomy.adapters import RANK
from zoo.anatomy.config import ModelConfig
from zoo.anatomy.costs import costs
from zoo.anatomy.size import item_bytes
from zoo.comparison.rows import Terms, rows
from zoo.comparison.subject import ComparedModel, distinct, with_adapter
from zoo.errors import UsageError, some
from zoo.report.table import Row
from zoo.units import human_bytes, human_length

if TYPE_CHECKING:
    from zoo.difference.record import WeightDifference

LENGTH = 32 * 1024


@dataclass(frozen=True)
class Findings:
    """What running the models has shown: `rows` as in the table, one value per model, and losses where there are any.

    `losses` are nats per token of one text, one sequence per model, None for a model that was not measured; `notes`
    are sentences that tell how it was measured. `pieces` are the first tokens of the text with their losses, as each
    model cuts it, and `detail` everything that was measured, as JSON values.
    """

    rows: tuple[Row, ...]
    losses: tuple[tuple[float, ...] | None, ...] = ()
    notes: tuple[str, ...] = ()
    pieces: tuple[tuple[tuple[str, float], ...] | None, ...] = ()
    detail: dict[str, Any] = field(default_factory=dict)
    roundings: tuple[WeightDifference | None, ...] = ()  # weights against the first's, where one may be the other's


@dataclass(frozen=True)
class Comparison:
    """What `zoo compare` tells, in words and by arithmetic; in numbers too, where `measurements` are given."""

    subjects: tuple[ComparedModel, ...]
    rows: tuple[Row, ...]
    length: int = LENGTH  # tokens that cache, FLOPs and training are counted for
    lora_rank: int = RANK
    bytes_dtype: str | None = None  # that bytes are counted in; None: the one that each model was released in
    measurements: Findings | None = None

    @property
    def differing(self) -> tuple[Row, ...]:
        """The rows in which the models differ."""
        return tuple(row for row in self.rows if not row.is_same)

    @property
    def same(self) -> tuple[Row, ...]:
        """The rows in which all are alike."""
        return tuple(row for row in self.rows if row.is_same)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the table must know."""
        told = [f"bytes are counted in {self.bytes_dtype}"] if self.bytes_dtype else []
        limits = [(s.name, s.size.anatomy.max_seq_len) for s in self.subjects if s.size]
        if over := [f"{name} ({limit:,})" for name, limit in limits if limit and limit < self.length]:
            told.append(f"{human_length(self.length)} tokens are beyond the context of {some(over, 8)}")
        if sources := [
            f"{human_bytes(s.size.source_cache_bytes(1, dtype=self.bytes_dtype))} ({s.name})"
            for s in self.subjects
            if s.size and s.size.anatomy.cross
        ]:
            each = f"each token of which adds to the cache: {some(sources, 8)}"
            told.append(f"decode at {human_length(self.length)} attends to a source of the same length, {each}")
        if unknown := [s.name for s in self.subjects if s.size is None]:
            told.append(f"no arithmetic for the size of {some(unknown, 8)}: the family describes no anatomy")
        return tuple(told)

    def table(self, width: int | None = None, *, is_short: bool = False) -> str:
        """The rows that differ, aligned, and, unless `is_short`, a line of what is the same; lines fit `width`."""
        from zoo.comparison.table import as_text

        return as_text(self, width, is_short=is_short)

    def markdown(self, *, is_short: bool = False) -> str:
        """The same as a table in Markdown."""
        from zoo.comparison.table import as_markdown

        return as_markdown(self, is_short=is_short)

    def html(self) -> str:
        """The report with pictures: one page that needs no network and no script. Imports torch for the masks."""
        from zoo.comparison.page import page

        return page(self)

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON values, numbers exact."""
        told: dict[str, Any] = {
            "length": self.length,
            "lora_rank": self.lora_rank,
            "bytes_dtype": self.bytes_dtype,
            "subjects": [_subject(s, self) for s in self.subjects],
            "rows": _rows(self.rows),
            "notes": list(self.notes),
        }
        if m := self.measurements:
            losses = [None if loss is None else list(loss) for loss in m.losses]
            told["measurements"] = {
                "rows": _rows(m.rows),
                "losses": losses,
                "notes": list(m.notes),
                "detail": m.detail,
                "rounding": [None if d is None or d.rounding is None else d.rounding.to_dict() for d in m.roundings],
            }
        return told

    def __str__(self) -> str:
        return self.table()

    def _repr_html_(self) -> str:
        """The report in a frame of its own, so that its style and the notebook's do not meet."""
        from html import escape

        style = "width:100%;height:80vh;border:0"
        return f'<iframe title="zoo compare" style="{style}" srcdoc="{escape(self.html())}"></iframe>'


def compare(
    *subjects: str | Path | ModelConfig,
    length: int = LENGTH,
    lora_rank: int = RANK,
    bytes_dtype: str | None = None,
    text: str | Path | None = None,
    adapter: str | Path | None = None,
    **measuring: Any,
) -> Comparison:
    """Two models or more side by side: `compare("gpt2", "llama3 model.num_kv_heads=4", "./folder")`.

    Subjects are what `zoo list` names, overrides behind it, checkpoints (their headers are read) and configs. Cache,
    FLOPs and training are counted for `length` tokens, bytes in `bytes_dtype`, or else in the dtype of each one's
    released weights; this only counts, and casts nothing. Overrides stand in the string, for each subject has its own.
    With a `text`, a file or `sample`, the weights are read too and measured on it: `measuring` are further arguments of
    `zoo.comparison.measured.measured`. With an `adapter`, a folder of peft, the first subject comes once more with it
    beside its weights; behind another subject it is a word: "./folder adapter=./lora". Raises UsageError for fewer than
    two and for what is no dtype, and what the subjects do.
    """
    if adapter is not None and subjects:
        subjects = (*subjects, with_adapter(subjects[0], adapter))
    if len(subjects) < 2:
        raise UsageError("nothing to compare with", hint="name two models or more: zoo compare gpt2 llama3")
    if length < 1:
        raise UsageError(f"length={length} is not a number of tokens")
    if bytes_dtype is not None:
        item_bytes(bytes_dtype)
    if text is None and measuring:
        raise UsageError(f"{min(measuring)} needs a text on which the weights are measured", hint='add text="sample"')
    found = distinct([ComparedModel.of(what, is_measured=text is not None) for what in subjects])
    told = rows(found, Terms(length, lora_rank, bytes_dtype))
    numbers = None
    if text is not None:
        from zoo.comparison.measured import measured

        numbers = measured(subjects, text=text, **measuring)
    return Comparison(found, told, length, lora_rank, bytes_dtype, numbers)


def _subject(s: ComparedModel, c: Comparison) -> dict[str, Any]:
    return {
        "name": s.name,
        "description": s.description,
        "family": s.config.family,
        "config": s.config.to_dict(),
        "traits": s.size.anatomy.traits if s.size else {},
        "size": costs(s.size, c.length, dtype=c.bytes_dtype, rank=c.lora_rank) if s.size else None,
    }


def _rows(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Rows as JSON values; a part names the row that it is a part of."""
    told, whole = [], ""
    for row in rows:
        whole = whole if row.is_part else row.label
        known = {"section": row.section, "label": row.label, "part_of": whole if row.is_part else None}
        told.append(known | {"values": list(row.values), "same": row.is_same})
    return told
