"""How a tokenizer spells, as llguidance wants to know it: the bytes of every token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo.errors import UsageError


def spelling_of(tokenizer: Any, eos: Sequence[int], vocab_size: int | None) -> Any:
    """The library's tokenizer for one of ours; from its tokenizer.json where it has one, else from what it decodes.

    Raises UsageError for a tokenizer whose tokens have no spelling of their own.
    """
    from llguidance import LLTokenizer, TokenizerWrapper

    backend = getattr(tokenizer, "backend", None)
    if hasattr(backend, "to_str"):
        size = max(vocab_size or 0, tokenizer.vocab_size)
        try:
            return LLTokenizer(backend.to_str(), n_vocab=size, eos_token=list(eos))
        except (ValueError, RuntimeError):  # a kind that the library cannot read: WordPiece, for example
            pass
    tokens = _decoded(tokenizer, vocab_size or getattr(tokenizer, "vocab_size", 0), eos)
    return LLTokenizer(TokenizerWrapper(_Table(tokens, eos)), eos_token=list(eos))


class _Table:
    """A vocabulary with the longest token first as its way to cut a text."""

    bos_token_id = None

    def __init__(self, tokens: list[bytes], eos: Sequence[int]) -> None:
        self.tokens, self.eos_token_id = tokens, eos[0]
        self.special_token_ids = [i for i, told in enumerate(tokens) if not told]
        self._by_bytes = {told: i for i, told in reversed([*enumerate(tokens)]) if told}
        self._longest = max(map(len, self._by_bytes), default=1)

    def __call__(self, text: bytes) -> list[int]:
        found, at = [], 0
        while at < len(text):
            ends = range(min(len(text), at + self._longest), at, -1)
            end = next((end for end in ends if text[at:end] in self._by_bytes), None)
            if end is None:  # nothing spells this byte
                return found
            found.append(self._by_bytes[text[at:end]])
            at = end
        return found


def _decoded(tokenizer: Any, count: int, eos: Sequence[int]) -> list[bytes]:
    """The bytes of each token as it stands in a text after itself; none for what is no whole character."""
    tokens = []
    for token in range(count):
        text = "" if token in eos else tokenizer.decode([token, token])[len(tokenizer.decode([token])) :]
        tokens.append(b"" if "\ufffd" in text else text.encode())
    if not any(tokens):
        raise UsageError("no token of this tokenizer has a spelling of its own, which a form of texts needs")
    return tokens
