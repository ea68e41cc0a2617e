"""The objects that answer a completion, whole or in pieces."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from typing import Any

from zoo.generation.batching import Growth, Request
from zoo.serving.interface.choices import REASONS, Choice, Speller, TokenPlaces
from zoo.serving.interface.prepared import Prepared


class Answer:
    """One answer in the making."""

    def __init__(self, prepared: Prepared, requests: list[Request]) -> None:
        self.prepared, self.requests = prepared, requests
        self.tokenizer = prepared.volume.tokenizer
        self.spell = Speller(self.tokenizer)
        self.id = f"{'chatcmpl' if prepared.is_chat else 'cmpl'}-{secrets.token_hex(12)}"
        self.created = int(time.time())
        self.choices = [Choice(index) for index in range(len(requests) * prepared.num_texts)]
        self.num_tokens = 0
        self._places: dict[int, TokenPlaces] = {}  # by choice, where its next token stands

    @property
    def usage(self) -> dict[str, int]:
        """Tokens that were read and written."""
        read = sum(len(request.prompt) for request in self.requests)
        return {
            "prompt_tokens": read,
            "completion_tokens": self.num_tokens,
            "total_tokens": read + self.num_tokens,
        }

    def add(self, number: int, piece: Growth) -> Choice:
        """Take in a piece of the prompt of this number."""
        choice = self.choices[number * self.prepared.num_texts + piece.number]
        choice.add(piece)
        self.num_tokens += len(piece.tokens)
        return choice

    def whole(self) -> dict[str, Any]:
        """The object that tells all at once."""
        kind = "chat.completion" if self.prepared.is_chat else "text_completion"
        told = [self._message(c) if self.prepared.is_chat else self._text(c) for c in self.choices]
        return {**self._head(kind), "choices": told, "usage": self.usage}

    def beginnings(self) -> Iterator[dict[str, Any]]:
        """What comes before the first piece: whose turn it is, or the prompts, where they are to be repeated."""
        if self.prepared.is_chat:
            for choice in self.choices:
                yield self._chunk(choice.index, {"role": "assistant", "content": "", "refusal": None}, None, None)
        elif self.prepared.echo:
            for choice in self.choices:
                text, scores = self._prompt(choice.index)
                yield self._piece(choice.index, text, scores, None)

    def piece(self, choice: Choice, piece: Growth) -> dict[str, Any] | None:
        """The object that tells of one piece; None where there is nothing to tell."""
        reason = REASONS.get(piece.finish_reason or "")
        if not (piece.text or piece.scores or reason):
            return None
        if not self.prepared.is_chat:
            return self._piece(choice.index, piece.text, [*piece.scores], reason)
        delta = {"content": piece.text} if piece.text or piece.scores else {}
        logprobs = self.spell.for_chat([*piece.scores]) if piece.scores else None
        return self._chunk(choice.index, delta, logprobs, reason)

    def last(self) -> dict[str, Any]:
        """What counts the tokens behind all pieces."""
        kind = "chat.completion.chunk" if self.prepared.is_chat else "text_completion"
        return {**self._head(kind), "choices": [], "usage": self.usage}

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.prepared.volume.name}

    def _chunk(self, index: int, delta: dict[str, Any], logprobs: Any, reason: str | None) -> dict[str, Any]:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
        return {**self._head("chat.completion.chunk"), "choices": [choice]}

    def _piece(self, index: int, text: str, scores: list[Any], reason: str | None) -> dict[str, Any]:
        has_scores = self.prepared.num_top is not None
        logprobs = self._table(index, scores) if has_scores else None
        choice = {"index": index, "text": text, "logprobs": logprobs, "finish_reason": reason}
        return {**self._head("text_completion"), "choices": [choice]}

    def _message(self, choice: Choice) -> dict[str, Any]:
        logprobs = None if self.prepared.num_top is None else self.spell.for_chat(choice.scores)
        message = {"role": "assistant", "content": choice.text, "refusal": None}
        return {"index": choice.index, "message": message, "logprobs": logprobs, "finish_reason": choice.finish_reason}

    def _text(self, choice: Choice) -> dict[str, Any]:
        text, scores = self._prompt(choice.index) if self.prepared.echo else ("", [])
        logprobs = None
        if self.prepared.num_top is not None:
            logprobs = self._table(choice.index, [*scores, *choice.scores])
        return {
            "text": text + choice.text,
            "index": choice.index,
            "logprobs": logprobs,
            "finish_reason": choice.finish_reason,
        }

    def _table(self, index: int, scores: list[Any]) -> dict[str, Any]:
        prompt = self.requests[index // self.prepared.num_texts].prompt
        if index not in self._places:
            self._places[index] = TokenPlaces(self.tokenizer, () if self.prepared.echo else prompt)
        return self.spell.for_text(scores, prompt, self._places[index])

    def _prompt(self, index: int) -> tuple[str, list[Any]]:
        """The prompt's text, and its tokens' probabilities."""
        request = self.requests[index // self.prepared.num_texts]
        return self.tokenizer.decode(request.prompt), [*(request.prompt_scores or [])]
