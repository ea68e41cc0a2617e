"""Tokens to text one at a time, without ever taking a character back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

CONTEXT = 16  # tokens that a continuation looks back on


class TextStream:
    """Pieces of text that joined are what decoding context and tokens at once adds to the context's text.

    What a token says depends on those before it (a space at the very beginning is dropped) and, while a character is
    incomplete, on those after it. So a few tokens before are decoded along, and incomplete characters are held back.
    """

    def __init__(
        self,
        decode: Callable[[list[int]], str],
        context: Sequence[int] = (),
        *,
        byte_tokens: Collection[int] = (),
        silent_tokens: Collection[int] = (),
        lengths: dict[int, int] | None = None,
    ) -> None:
        """`byte_tokens` stand for single bytes, `silent_tokens` are left out by `decode`.

        `lengths` is where streams of one tokenizer keep how many characters a token has by itself.
        """
        self._lengths = {} if lengths is None else lengths
        self._decode, self._byte_tokens, self._silent = decode, byte_tokens, silent_tokens
        self._ids = self._tail(context)
        self._mark = len(self._ids)  # tokens before it have been told in full
        self._told = self._told_by_context()

    def push(self, token: int) -> str:
        """The text that is certain now that `token` came."""
        if token in self._silent:
            return ""
        self._ids.append(token)
        if token in self._byte_tokens:
            return ""  # a run of bytes is read as a whole: the next one can turn all of it into replacement marks
        text = self._decode(self._ids)
        end = self._certain(text)
        piece, self._told = text[self._told : end], max(self._told, end)
        if piece and end == len(text):
            self._ids = self._ids[self._mark :]
            self._mark, self._told = len(self._ids), self._length()
        return piece

    def finish(self) -> str:
        """The text that was still held back; the stream is at its end."""
        text = self._decode(self._ids)
        piece, self._told = text[self._told :], max(self._told, len(text))
        return piece

    def _length(self) -> int:
        """Characters of what is looked back on: of one token as a rule, of which many texts have the same."""
        if len(self._ids) != 1:
            return len(self._decode(self._ids))
        token = self._ids[0]
        if token not in self._lengths:
            self._lengths[token] = len(self._decode(self._ids))
        return self._lengths[token]

    def _told_by_context(self) -> int:
        """Characters of the context; one that it leaves incomplete is still to be told."""
        text, end = self._decode(self._ids), len(self._ids)
        while text.endswith("\ufffd") and end and self._ids[end - 1] in self._byte_tokens:
            end -= 1
        return self._certain(text) if end == len(self._ids) else len(self._decode(self._ids[:end]))

    def _tail(self, context: Sequence[int]) -> list[int]:
        ids = [token for token in context if token not in self._silent]
        start = max(0, len(ids) - CONTEXT)
        while start > 0 and ids[start] in self._byte_tokens:
            start -= 1
        return ids[start:]

    @staticmethod
    def _certain(text: str) -> int:
        """Characters of `text` that no further token can change: a last replacement mark may become a character."""
        return len(text) - text.endswith("\ufffd")
