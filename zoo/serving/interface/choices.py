"""The texts of an answer as they grow, and how tokens and their probabilities are spelt."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from zoo.generation.batching import Growth, TokenScore

if TYPE_CHECKING:
    from zoo.text import Tokenizer

REASONS = {"eos": "stop", "stop": "stop", "length": "length"}


@dataclass
class Choice:
    """One text."""

    index: int
    text: str = ""
    scores: list[TokenScore | None] = field(default_factory=list)
    finish_reason: str | None = None

    def add(self, piece: Growth) -> None:
        """Take in what is new."""
        self.text += piece.text
        self.scores += piece.scores
        self.finish_reason = REASONS.get(piece.finish_reason or "", self.finish_reason)


class TokenPlaces:
    """Where the tokens of a text begin in it, in characters, one after the other."""

    def __init__(self, tokenizer: Tokenizer, context: Sequence[int] = ()) -> None:
        """`context` are tokens before the text."""
        self._tokenizer, self._at = tokenizer, 0
        self._reader = codecs.getincrementaldecoder("utf-8")("replace")
        self._is_first = not any(map(tokenizer.bytes_of, context))

    def take(self, token: int) -> int:
        """The place of the next token; that of a part of a character is the character's."""
        at, told = self._at, self._tokenizer.bytes_of(token)
        if told and self._is_first:  # a space may be dropped here
            alone, self._is_first = self._tokenizer.decode([token]), False
            told = told if "\ufffd" in alone else alone.encode()
        self._at += len(self._reader.decode(told))
        return at


class Speller:
    """Tokens by themselves as texts."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self._bytes: dict[int, bytes] = {}

    def __call__(self, token: int) -> str:
        """What a token adds to a text; one that is a part of a character, as the vocabulary spells it."""
        try:
            text = self.bytes_of(token).decode()
        except UnicodeDecodeError:
            text = ""
        return text or self.tokenizer.id_to_token(token) or f"<{token}>"

    def bytes_of(self, token: int) -> bytes:
        """The same as bytes, which joined are the text."""
        if token not in self._bytes:
            self._bytes[token] = self.tokenizer.bytes_of(token, skip_special_tokens=False)
        return self._bytes[token]

    def spelt(self, token: int, log_prob: float) -> dict[str, Any]:
        """A token of a chat, with its bytes."""
        return {"token": self(token), "logprob": log_prob, "bytes": [*self.bytes_of(token)]}

    def for_chat(self, scores: list[TokenScore | None]) -> dict[str, Any]:
        """The probabilities of a chat's tokens."""
        content = [
            {**self.spelt(s.token, s.log_prob), "top_logprobs": [self.spelt(*pair) for pair in s.top]}
            for s in scores
            if s is not None
        ]
        return {"content": content, "refusal": None}

    def for_text(self, scores: list[TokenScore | None], prompt: list[int], places: TokenPlaces) -> dict[str, Any]:
        """The probabilities of a completion's tokens; `prompt` has those of which there is none for the first."""
        tokens = [score.token if score else prompt[0] for score in scores]
        return {
            "tokens": [self(token) for token in tokens],
            "token_logprobs": [score.log_prob if score else None for score in scores],
            "top_logprobs": [self._table(score) if score else None for score in scores],
            "text_offset": [places.take(token) for token in tokens],
        }

    def _table(self, score: TokenScore) -> dict[str, float]:
        """The likeliest tokens by their texts; of several that read alike the likeliest, and the chosen one besides."""
        table: dict[str, float] = {}
        for token, log_prob in [*score.top, (score.token, score.log_prob)]:
            table.setdefault(self(token), log_prob)
        return table
