"""Greedy decoding with a draft: cheap guesses, checked several at a time (arXiv:2211.17192, the greedy case).

The tokens are those of plain greedy decoding; only the number of forward passes changes.
Shapes: T tokens, V vocab.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor

from zoo.errors import UsageError
from zoo.generation.decoding.loop import check_finite, open_cache
from zoo.generation.decoding.stopping import GrowingRow
from zoo.generation.prompts import Batch
from zoo.generation.protocols import Draft, LanguageModel, device_of


class PromptLookup:
    """Guesses that what followed the last few tokens before will follow them again."""

    def __init__(self, num_tokens: int = 8, ngram_size: int = 3) -> None:
        self.num_tokens, self.ngram_size = num_tokens, ngram_size

    def propose(self, tokens: list[int], most: int) -> list[int]:
        """What followed the latest earlier occurrence of the longest run that `tokens` ends with."""
        for size in range(min(self.ngram_size, len(tokens) - 1), 0, -1):
            tail = tokens[-size:]
            for start in range(len(tokens) - size - 1, -1, -1):
                if tokens[start : start + size] == tail:
                    return tokens[start + size : start + size + min(self.num_tokens, most)]
        return []


class DraftModel:
    """Guesses with a smaller model of the same vocabulary."""

    def __init__(self, model: LanguageModel, num_tokens: int = 5) -> None:
        self.model, self.num_tokens = model, num_tokens
        self._cache: Any = None
        self._read: list[int] = []  # tokens that the cache holds

    @torch.inference_mode()
    def propose(self, tokens: list[int], most: int) -> list[int]:
        """The small model's own greedy continuation."""
        guessed: list[int] = []
        new = self._unread(tokens, most)
        while len(guessed) < min(self.num_tokens, most):
            logits = self.model(torch.tensor([new], device=device_of(self.model)), cache=self._cache, last=True)
            self._read += new
            new = [int(logits[0, -1].argmax())]
            guessed += new
        return guessed

    def _unread(self, tokens: list[int], most: int) -> list[int]:
        """Rewind the cache to what it shares with `tokens`; gives the rest."""
        needed = len(tokens) + most
        if self._cache is None or self._cache.max_len < needed:
            self._cache, self._read = rewindable(self.model.new_cache(1, 2 * needed)), []
        pairs = zip(self._read, tokens[:-1], strict=False)
        shared = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(self._read), len(tokens) - 1))
        rewind(self._cache, shared)
        self._read = self._read[:shared]
        return tokens[shared:]


@torch.inference_mode()
def decode_drafted(model: LanguageModel, batch: Batch, row: GrowingRow, draft: Draft) -> Iterator[Tensor]:
    """Push tokens into the only `row` until it is finished; gives raw logits [1, tokens pushed, V] of each pass."""
    cache = rewindable(open_cache(model, 1, batch, [row.limit]))
    new, guess, inputs = batch.rows[0], [], batch.inputs
    while True:
        tokens = torch.tensor([new + guess], device=batch.tokens.device)
        logits = model(tokens, cache=cache, last=not guess, **inputs)[:, -len(guess) - 1 :]
        inputs = {}
        check_finite(logits, len(row.tokens))
        answer = logits[0].argmax(-1).tolist()
        right = _count_equal(guess, answer)
        before = len(row.tokens)
        for token in answer[: right + 1]:
            row.push(token)
        yield logits[:, : len(row.tokens) - before]
        if row.finish_reason:
            return
        rewind(cache, batch.width + len(row.tokens) - 1)
        new = row.tokens[-1:]
        proposed = draft.propose(row.prompt + row.tokens, row.limit - len(row.tokens) - 1)
        guess = list(takewhile(range(logits.shape[-1]).__contains__, proposed))  # a draft's vocabulary may be larger


def rewindable(cache: Any) -> Any:
    """The cache, if it can forget its last tokens. Raises UsageError for one that cannot, as that of a state."""
    if not hasattr(cache, "rewind") or not getattr(cache, "can_rewind", True):
        raise UsageError(
            "a draft needs a cache that can drop tokens, and the cache of this model cannot",
            hint="generate without draft=",
        )
    return cache


def rewind(cache: Any, length: int) -> None:
    """Forget the tokens after the first `length`."""
    if cache.length != length:
        cache.rewind(length)


def _count_equal(guess: Sequence[int], answer: Sequence[int]) -> int:
    pairs = zip(guess, answer, strict=False)
    return next((i for i, (g, a) in enumerate(pairs) if g != a), len(guess))
