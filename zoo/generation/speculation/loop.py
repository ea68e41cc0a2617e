"""Decoding with a draft: cheap guesses, several of which are judged in one pass (arXiv:2211.17192).

Greedy tokens are those of plain greedy decoding, drawn ones have the distribution of plain sampling; only the number of
forward passes changes. Rows keep different numbers of their guesses.
Shapes: R rows, T tokens, V vocab.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from zoo.generation.decoding.loop import check_finite, open_cache
from zoo.generation.decoding.prefill import read_prompts
from zoo.generation.decoding.stopping import GrowingRow
from zoo.generation.prompts import Batch
from zoo.generation.protocols import Draft, LanguageModel
from zoo.generation.speculation.guess import MOST, Guess, Pace
from zoo.generation.speculation.judge import Judge
from zoo.generation.speculation.reader import Reader, rewindable
from zoo.generation.speculation.report import DraftReport


@torch.inference_mode()
def decode_drafted(
    model: LanguageModel,
    batch: Batch,
    judges: Sequence[Judge],
    draft: Draft,
    *,
    num_tokens: int | None,
    report: DraftReport,
    is_checked: bool = True,
) -> Iterator[list[Tensor]]:
    """Push tokens into the judges' rows until all are finished; gives of each pass the raw logits [n, V] of each row.

    `num_tokens` are guessed at a time; None: as many as have been right lately.
    """
    rows = [judge.row for judge in judges]
    ahead = min(num_tokens or MOST, max(row.limit for row in rows))
    logits, reader = _begun(model, batch, rows, ahead, draft)
    guesses, paces = [Guess()] * len(rows), [Pace(num_tokens) for _ in rows]
    while True:
        counts = [len(guess.tokens) + 1 for guess in guesses]
        parts = [of_row[-count:] for of_row, count in zip(logits, counts, strict=True)]
        before = [len(row.tokens) for row in rows]
        for number, (judge, part, guess) in enumerate(zip(judges, parts, guesses, strict=True)):
            if judge.row.finish_reason:
                continue
            if is_checked:
                check_finite(part[None], before[number], row=number)
            right = judge.judge(part, guess)
            paces[number].learn(len(guess.tokens), right)
            report.take(len(guess.tokens), right)
        report.finish_pass([len(row.tokens) for row in rows])
        yield [part[: len(row.tokens) - had] for part, row, had in zip(parts, rows, before, strict=True)]
        if all(row.finish_reason for row in rows):
            return
        reader.rewind([len(row.prompt) + len(row.tokens) - 1 for row in rows])
        guesses = _guesses(draft, judges, [min(pace.num_tokens, ahead, reader.room - 1) for pace in paces])
        logits = reader.read(
            [[] if row.finish_reason else [row.tokens[-1], *guess.tokens]
             for row, guess in zip(rows, guesses, strict=True)]
        )  # fmt: skip


def _begun(model: LanguageModel, batch: Batch, rows: list[GrowingRow], ahead: int, draft: Any) -> tuple[Tensor, Reader]:
    """Logits [R, 1, V] after the prompts, and what reads on from there."""
    cache = open_cache(model, batch, [row.limit for row in rows], spare=ahead)
    rewindable(cache, len(rows), ahead)
    if hasattr(draft, "watch"):  # a draft that guesses from what the model itself makes of the text
        draft.watch(cache)
    logits = read_prompts(model, cache, batch, len(rows))
    return logits, Reader(model, cache, [len(row.prompt) for row in rows])


def _guesses(draft: Any, judges: Sequence[Judge], paces: Sequence[int]) -> list[Guess]:
    """A guess for each row, no longer than what may still follow it before its last token."""
    rows = [judge.row for judge in judges]
    most = [0 if row.finish_reason else max(0, min(row.limit - len(row.tokens) - 1, pace))
            for row, pace in zip(rows, paces, strict=True)]  # fmt: skip
    texts = [row.prompt + row.tokens for row in rows]
    if hasattr(draft, "guess_rows"):
        found = draft.guess_rows(texts, most, lambda row, guessed, logits: judges[row].pick(guessed, logits))
    else:
        found = [Guess(list(draft.propose(text, n)) if n else []) for text, n in zip(texts, most, strict=True)]
    return [judge.admitted(guess).cut(n) for judge, guess, n in zip(judges, found, most, strict=True)]
