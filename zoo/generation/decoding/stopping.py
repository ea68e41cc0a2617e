"""When a row is finished, and which part of its text is final by then."""

from __future__ import annotations

from collections.abc import Sequence

from zoo.generation.protocols import TextStreamLike


class StopStrings:
    """Cuts a text that arrives in pieces before the first stop string, wherever the pieces part it."""

    def __init__(self, stop: Sequence[str] = ()) -> None:
        self.stop = tuple(stop)
        self.held = ""
        self.is_hit = False

    def push(self, piece: str) -> str:
        """The text that can no longer be part of a stop string; nothing after a hit."""
        if self.is_hit:
            return ""
        text = self.held + piece
        hits = [at for at in (text.find(stop) for stop in self.stop) if at >= 0]
        self.is_hit = bool(hits)
        end = min(hits) if hits else len(text) - self._held_len(text)
        self.held = "" if hits else text[end:]
        return text[:end]

    def finish(self) -> str:
        """What was held back for a stop string that did not come."""
        held, self.held = self.held, ""
        return held

    def _held_len(self, text: str) -> int:
        """Characters at the end of `text` that begin a stop string."""
        longest = min(len(text), max(map(len, self.stop), default=1) - 1)
        return next((n for n in range(longest, 0, -1) if any(s.startswith(text[-n:]) for s in self.stop)), 0)


class GrowingRow:
    """One sequence in the making: its tokens, its text and why it ended."""

    def __init__(
        self,
        prompt: list[int],
        *,
        limit: int,
        eos: frozenset[int] = frozenset(),
        stop: Sequence[str] = (),
        text: TextStreamLike | None = None,
    ) -> None:
        self.prompt, self.limit, self.eos = prompt, limit, eos
        self.tokens: list[int] = []
        self.finish_reason: str | None = None
        self._text, self._stop = text, StopStrings(stop)
        self._pieces: list[str] = []

    def push(self, token: int) -> None:
        """Take the next token; a finished row takes no more."""
        if self.finish_reason:
            return
        self.tokens.append(token)
        if token in self.eos:
            self._finish("eos")
            return
        if self._text:
            self._pieces.append(self._stop.push(self._text.push(token)))
        if self._stop.is_hit:
            self.finish_reason = "stop"
        elif len(self.tokens) == self.limit:
            self._finish("length")

    def take(self) -> str:
        """The text that became final since the last call."""
        piece, self._pieces = "".join(self._pieces), []
        return piece

    def _finish(self, reason: str) -> None:
        self.finish_reason = reason
        if self._text:
            self._pieces.append(self._stop.push(self._text.finish()))
            self._pieces.append(self._stop.finish())
        if self._stop.is_hit:  # in what the text stream held back
            self.finish_reason = "stop"
