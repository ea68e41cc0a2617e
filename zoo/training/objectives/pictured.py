"""Supervised tuning with pictures: rows with `images`, `prompt` and `answer`, the pictures as the family reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Generator, Tensor

from zoo.errors import UsageError
from zoo.text import Tokenizer
from zoo.training.corpus import Record, standing_at, text_corpus
from zoo.training.losses import token_loss
from zoo.training.objectives.batch import Facts, Microbatch
from zoo.training.objectives.ground import Ground
from zoo.training.objectives.pairs import answer_batch
from zoo.vision.illustration import illustrate, seeing
from zoo.vision.prompts import joined

ROWS = '{"images": ["a.png"], "prompt": "…", "answer": "…"}'
UNREAD = ("image", "video", "videos")  # fields that other programs have for what a row shows


@dataclass(frozen=True)
class PicturedAnswers:
    """The next token of answers to prompts with pictures; a row each, none of them cut."""

    rows: Sequence[Record]
    tokenizer: Tokenizer
    answers: Sequence[list[int]]
    length: int

    @property
    def fingerprint(self) -> str:
        return text_corpus(self.answers).fingerprint

    def batch(self, model: Any, rows: Sequence[int], generator: Generator) -> Microbatch:
        found = [self._row(model, i) for i in rows]
        batch = answer_batch([(ids, prompt) for ids, prompt, _ in found])
        pictures = joined([{name: x.cpu() for name, x in inputs.items()} for _, _, inputs in found if inputs])
        return replace(batch, kwargs={**batch.kwargs, **pictures})

    def loss(self, model: Any, batch: Microbatch, total: int) -> tuple[Tensor, Facts]:
        like = next(model.parameters())
        kwargs = {k: v.to(like.dtype) if v.is_floating_point() else v for k, v in batch.kwargs.items()}
        return token_loss(model(*batch.args, **kwargs), batch.labels, total=total), {}

    def _row(self, model: Any, i: int) -> tuple[list[int], int, dict[str, Tensor]]:
        record = self.rows[i]
        prompt, names = record.text("prompt"), record.values.get("images") or []
        inputs: dict[str, Tensor] = {}
        if names:
            shown = illustrate(model, prompt, [record.folder / name for name in names], tokenizer=self.tokenizer)
            before, inputs = shown.tokens, shown.inputs
        else:
            before = self.tokenizer.encode(prompt)
        ids = [*before, *self.answers[i]]
        if len(ids) > self.length:
            what = f"{record.place} has {len(ids)} tokens with its pictures, more than data.length={self.length}"
            raise UsageError(what, hint="make data.length larger, or leave the row out")
        return ids, len(before), inputs


def have_pictures(rows: Sequence[Record]) -> bool:
    """Whether any row has pictures. Raises UsageError for what else it may show, which would be left out unseen."""
    for row in rows:
        if wrong := next((name for name in UNREAD if row.values.get(name)), None):
            what = f"{row.place} has {wrong!r}, which objective=sft does not read"
            raise UsageError(what, hint=f"give pictures as {ROWS}, or leave the field out")
        names = row.values.get("images") or []
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise UsageError(f"{row.place}: 'images' is no list of names of files", hint=f"give rows such as {ROWS}")
    return any(row.values.get("images") for row in rows)


def pictured_answers(ground: Ground, rows: Sequence[Record], field: str) -> PicturedAnswers:
    """Raises UsageError for a model that reads no pictures."""
    from zoo.registry import installed

    seeing(installed()[ground.config.family])
    end = [] if ground.end is None else [ground.end]
    answers = []
    for record in rows:
        record.text("prompt", row=ROWS)  # this and the pictures are read when their turn comes, and refused now
        for name in record.values.get("images") or []:
            record.picture(name)
        with standing_at(record.place):
            answers.append([*ground.words.encode(record.text(field, row=ROWS), add_special_tokens=False), *end])
    return PicturedAnswers(rows, ground.words, answers, ground.length)
