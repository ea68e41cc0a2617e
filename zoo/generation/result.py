"""What a generation gives back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from zoo.errors import UsageError
from zoo.generation.decoding.stopping import GrowingRow
from zoo.generation.form import Form
from zoo.generation.speculation.report import DraftReport


@dataclass(frozen=True)
class Generation:
    """The continuation of each prompt, row by row and without padding."""

    prompts: list[list[int]]  # token ids that were continued
    new_tokens: list[list[int]]  # token ids that were added, the end token included
    finish_reasons: list[str]  # eos | stop | length
    texts: list[str] | None = None  # what the new tokens add to the prompt's text, cut before a stop string
    scores: list[float] | None = None  # beam search: log probability over length to the power of length_penalty
    draft: DraftReport | None = None  # what the draft was good for, where there was one
    compile_seconds: float | None = None  # that were spent on compiling, where that was asked; 0 the second time
    logits: list[Tensor] | None = None  # raw logits [new tokens, V] that each new token was chosen from

    @property
    def tokens(self) -> list[list[int]]:
        """Prompt and continuation of every row."""
        return [prompt + new for prompt, new in zip(self.prompts, self.new_tokens, strict=True)]

    @property
    def text(self) -> str:
        """The text of the only row. Raises UsageError where there are more, or no tokenizer was given."""
        if self.texts is None:
            raise UsageError("there is no text", hint="give generate() a tokenizer")
        if len(self.texts) != 1:
            raise UsageError(f"there are {len(self.texts)} texts", hint="use .texts")
        return self.texts[0]


class Stream(Iterator[str]):
    """Pieces of one text as it is generated; joined they are exactly `Generation.text`."""

    def __init__(
        self,
        row: GrowingRow,
        steps: Iterator[object],
        form: Form | None = None,
        *,
        draft: DraftReport | None = None,
        reader: object = None,
    ) -> None:
        self._row, self._steps, self._form, self._reader = row, steps, form, reader
        self.draft = draft  # what the draft was good for so far, where there is one
        self._said = ""

    @property
    def prompt(self) -> list[int]:
        """Token ids that are continued."""
        return self._row.prompt

    @property
    def new_tokens(self) -> list[int]:
        """Token ids so far."""
        return self._row.tokens

    @property
    def finish_reason(self) -> str | None:
        """eos, stop or length once the text is complete."""
        return self._row.finish_reason

    @property
    def compile_seconds(self) -> float | None:
        """Seconds that were spent on compiling so far, where that was asked."""
        return getattr(self._reader, "seconds", None)

    def __next__(self) -> str:
        while True:
            if piece := self._row.take():
                self._said += piece
                return piece
            if self._row.finish_reason:
                if self._form:
                    self._form.check(self._row.tokens, self._said)
                raise StopIteration
            next(self._steps)
