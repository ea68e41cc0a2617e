"""Tokens and their types, in the order of the embedding's rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from zoo.errors import UsageError
from zoo.text.reading.gguf import BYTE, CONTROL, NORMAL, UNKNOWN, UNUSED, USER_DEFINED

if TYPE_CHECKING:
    from zoo.text.tokenizer import Tokenizer

BYTES = frozenset(f"<0x{byte:02X}>" for byte in range(256))


@dataclass
class Columns:
    """One entry for each row of the embedding."""

    file: object
    tokens: list[str]
    types: list[int]

    @classmethod
    def of(cls, tokenizer: Tokenizer, rows: int) -> Self:
        """The columns of a tokenizer. Raises UsageError where the embedding has fewer rows than there are tokens."""
        if tokenizer.is_respelt:
            what = f"{tokenizer.file}: its family spells texts anew before they are split, which llama.cpp does not"
            raise UsageError(what)
        vocab = tokenizer.backend.get_vocab(with_added_tokens=True)
        if (last := max(vocab.values(), default=-1)) >= rows:
            what = f"{tokenizer.file}: it has the token {last:,}, and the model has {rows:,} rows of embeddings"
            raise UsageError(what, why="llama.cpp wants a row for every token")
        tokens = [f"[PAD{index}]" for index in range(rows)]
        types = [UNUSED] * rows
        for token, index in vocab.items():
            tokens[index], types[index] = token, NORMAL
        for index, added in tokenizer.backend.get_added_tokens_decoder().items():
            types[index] = CONTROL if added.special else USER_DEFINED
        return cls(tokenizer.file, tokens, types)

    def mark_pieces(self, unknown: str | None) -> None:
        """Set the types that pieces of SentencePiece have: the unknown one, and bytes."""
        for index, token in enumerate(self.tokens):
            if token == unknown:
                self.types[index] = UNKNOWN
            elif token in BYTES:
                self.types[index] = BYTE

    def refuse(self, what: str, why: str = "") -> UsageError:
        """The error that says what llama.cpp has no words for."""
        return UsageError(f"{self.file}: {what}", why=why, hint="llama.cpp would split texts in another way")


def steps_of(part: dict[str, Any] | None, inside: str) -> list[dict[str, Any]]:
    """The steps of a normalizer or pre-tokenizer, one or a sequence of them; `inside` is what a sequence calls them."""
    if part is None:
        return []
    if part["type"] == "Sequence":
        return [step for each in part[inside] for step in steps_of(each, inside)]
    return [part]
