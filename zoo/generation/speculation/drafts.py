"""Who guesses: the text itself, or a smaller model.

Shapes: R rows, V vocab.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from zoo.errors import UsageError
from zoo.generation.protocols import LanguageModel
from zoo.generation.speculation.guess import MOST, Guess, Pick
from zoo.generation.speculation.reader import Reader, rewindable


class PromptLookup:
    """Guesses that what followed the last few tokens before will follow them again; no second model.

    `num_tokens` are guessed at a time; None: as many as have been right lately.
    """

    def __init__(self, num_tokens: int | None = 8, ngram_size: int = 3) -> None:
        self.num_tokens, self.ngram_size = num_tokens, ngram_size

    def propose(self, tokens: list[int], most: int) -> list[int]:
        """What followed the latest earlier occurrence of the longest run that `tokens` ends with."""
        count = most if self.num_tokens is None else min(self.num_tokens, most)
        for size in range(min(self.ngram_size, len(tokens) - 1), 0, -1):
            tail = tokens[-size:]
            for start in range(len(tokens) - size - 1, -1, -1):
                if tokens[start : start + size] == tail:
                    return tokens[start + size : start + size + count]
        return []


class DraftModel:
    """Guesses with a smaller model of the same vocabulary; `num_tokens` as for PromptLookup."""

    def __init__(self, model: LanguageModel, num_tokens: int | None = 5) -> None:
        self.model, self.num_tokens = model, num_tokens
        self._reader: Reader | None = None
        self._read: list[list[int]] = []  # tokens that the cache holds, row by row
        self._longest: int | None = None  # tokens that the model can read, where it cannot read all that was asked for

    def propose(self, tokens: list[int], most: int) -> list[int]:
        """The small model's own greedy continuation."""
        return self.guess_rows([tokens], [most], _likeliest)[0].tokens

    @torch.inference_mode()
    def guess_rows(self, rows: Sequence[list[int]], most: Sequence[int], pick: Pick) -> list[Guess]:
        """A guess for each row, of at most `most[r]` tokens, each chosen from the small model's logits by `pick`."""
        vocab_size = getattr(self.model.config, "vocab_size", None)
        wanted = [n if self.num_tokens is None else min(n, self.num_tokens) for n in most]
        wanted = [n if vocab_size is None or max(row) < vocab_size else 0 for n, row in zip(wanted, rows, strict=True)]
        guesses = [Guess() for _ in rows]
        if self._longest is not None:  # beyond it nothing is guessed
            wanted = [n if len(row) < self._longest else 0 for n, row in zip(wanted, rows, strict=True)]
        if not any(wanted):
            return guesses
        reader, new = self._unread(rows, wanted)
        room = reader.room - max(map(len, new))  # columns of the cache, which all rows share
        wanted = [min(n, room + 1) for n in wanted]
        while any(new) and room >= 0:
            logits = reader.read(new, last=True)[:, -1]
            for row, tokens in zip(self._read, new, strict=True):
                row += tokens
            new = [
                self._next(number, guess, logits[number], pick) if tokens and len(guess.tokens) < count else []
                for number, (guess, tokens, count) in enumerate(zip(guesses, new, wanted, strict=True))
            ]
            new = [t if len(g.tokens) < n else [] for t, g, n in zip(new, guesses, wanted, strict=True)]
        return guesses

    def _next(self, row: int, guess: Guess, logits: Tensor, pick: Pick) -> list[int]:
        """The token that the guess grows by; none where nothing can follow."""
        picked = pick(row, guess.tokens, logits)
        if picked is None:
            return []
        guess.tokens.append(picked[0])
        guess.shares.append(picked[1])
        return [picked[0]] if picked[0] < getattr(self.model.config, "vocab_size", picked[0] + 1) else []

    def _unread(self, rows: Sequence[list[int]], wanted: Sequence[int]) -> tuple[Reader, list[list[int]]]:
        """Rewind the cache to what it shares with the rows; gives the rest of those of which a guess is wanted."""
        most = max(map(len, rows)) + max(wanted)
        shared = self._rewound(rows, wanted, most)
        if shared is None:
            shared = [0] * len(rows)
            self._reader, self._read = self._opened(len(rows), 2 * most), [[] for _ in rows]
        assert self._reader is not None
        self._read = [read[:length] for read, length in zip(self._read, shared, strict=True)]
        return self._reader, [row[start:] if n else [] for row, start, n in zip(rows, shared, wanted, strict=True)]

    def _rewound(self, rows: Sequence[list[int]], wanted: Sequence[int], most: int) -> list[int] | None:
        """Tokens of each row that the rewound cache holds; None where there is no cache that could."""
        reader = self._reader
        asked = most if self._longest is None else min(most, self._longest)
        if reader is None or len(rows) != len(reader.lengths) or reader.cache.max_len < asked:
            return None
        shared = [_shared(read, row) if n else len(read)
                  for read, row, n in zip(self._read, rows, wanted, strict=True)]  # fmt: skip
        try:
            reader.rewind(shared)
        except UsageError:  # another text, of which a ring has lost the beginning
            return None
        return shared

    def _opened(self, num_rows: int, max_len: int) -> Reader:
        ahead = min(max(MOST, self.num_tokens or 0), max_len)
        cache = rewindable(self.model.new_cache(num_rows, max_len + MOST), num_rows, ahead)
        self._longest = cache.max_len if cache.max_len < max_len + MOST else None
        return Reader(self.model, cache, [0] * num_rows)


def _shared(read: list[int], row: list[int]) -> int:
    """Tokens that both begin with, without the last of `row`, whose logits are wanted."""
    pairs = zip(read, row[:-1], strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(read), len(row) - 1))


def _likeliest(row: int, guessed: list[int], logits: Tensor) -> tuple[int, Any]:
    return int(logits.argmax()), None
