"""The multi-token prediction modules as a draft: module k guesses the token k + 2 places on (arXiv:2412.19437).

Apart from model.py because it is not about layers: it follows a text as it grows and as guesses are taken back.
Shapes: T tokens, P pairs of a state and a later token, D hidden, V vocab.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn

from zoo.generation import Guess
from zoo.nn import Cache, LayerCache, Places, Span

Picked = tuple[int, Tensor | None] | None


class StatesCache(Cache):
    """Keeps what the last norm made of every token besides, once it is told to."""

    def __init__(self, layers: list[LayerCache], batch_size: int, max_len: int) -> None:
        super().__init__(layers, batch_size, max_len)
        self.states: list[Tensor] | None = None  # [T, D] of each row, padding left out; None: nobody asked

    def watch(self) -> None:
        """Keep states from now on."""
        self.states = []

    def keep(self, x: Tensor, span: Places) -> None:
        """Take in the normed states x [B, T, D] of a pass."""
        assert self.states is not None
        padding = span.padding
        new = [*x] if padding is None else [row[real] for row, real in zip(x, padding, strict=True)]
        self.states = [torch.cat(pair) for pair in zip(self.states, new, strict=True)] if self.states else new

    def reorder(self, index: Tensor) -> None:
        super().reorder(index)
        if self.states:
            self.states = [self.states[i] for i in index.tolist()]

    def joined(self, others: Sequence[Self], index: Sequence[int], *, max_len: int) -> Self:
        assert all(cache.states is None for cache in (self, *others)), "the rows of a draft are its own"
        return super().joined(others, index, max_len=max_len)

    def rewind(self, length: int) -> None:
        super().rewind(length)
        self._forget([length] * self.batch_size)

    def rewind_rows(self, lengths: Sequence[int]) -> None:
        super().rewind_rows(lengths)
        self._forget(lengths)

    def _forget(self, lengths: Sequence[int]) -> None:
        if self.states:
            self.states = [row[:length] for row, length in zip(self.states, lengths, strict=True)]


class ModulesDraft:
    """Guesses as many tokens as there are modules, each row by itself."""

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        self.modules, self.num_tokens = modules, len(modules)
        self._cache: StatesCache | None = None
        self._rows: dict[int, ModulesReader] = {}

    def watch(self, cache: StatesCache) -> None:
        """Guess from now on for the rows of this cache."""
        cache.watch()
        self._cache, self._rows = cache, {}

    def propose(self, tokens: list[int], most: int) -> list[int]:
        """The likeliest tokens after the only row."""
        return self.guess_rows([tokens], [most], lambda row, guessed, logits: (int(logits.argmax()), None))[0].tokens

    @torch.inference_mode()
    def guess_rows(
        self, rows: Sequence[list[int]], most: Sequence[int], pick: Callable[[int, list[int], Tensor], Picked]
    ) -> list[Guess]:
        """A guess for each row, of at most `most[r]` tokens."""
        assert self._cache is not None
        assert self._cache.states is not None
        found = []
        for number, (text, states, count) in enumerate(zip(rows, self._cache.states, most, strict=True)):
            reader = self._rows.setdefault(number, ModulesReader(self.modules, self._cache.max_len))
            found.append(reader.guess(text, states, count, partial(pick, number)))
        return found


class ModulesReader:
    """The modules beside their caches, which hold the pairs of one row of which both tokens are certain."""

    def __init__(self, modules: Sequence[nn.Module], max_len: int) -> None:
        self.modules = modules
        self._caches: list[Any] = [Cache([m.layer.new_cache(1, max_len)], 1, max_len) for m in modules]  # pyrefly: ignore
        self._made: list[Tensor | None] = [None] * len(modules)  # normed states [P, D] that each module gave

    def guess(self, text: list[int], states: Tensor, most: int, pick: Callable[[list[int], Tensor], Picked]) -> Guess:
        """What follows `text`, of whose tokens but the last there are states [T - 1, D]."""
        guess, end = Guess(), len(text) - 1
        for number in range(min(most, len(self.modules))):
            states, logits = self._read(number, states[:end], [*text, *guess.tokens][number + 1 :])
            self._caches[number].rewind(max(0, end - number))  # the pairs of guesses go
            picked = pick(guess.tokens, logits)
            if picked is None:
                break
            guess.tokens.append(picked[0])
            guess.shares.append(picked[1])
        return guess

    def _read(self, number: int, states: Tensor, tokens: list[int]) -> tuple[Tensor, Tensor]:
        """Read the pairs of states [P, D] and tokens that module `number` has not; its own [P, D], and logits [V]."""
        cache, made = self._caches[number], self._made[number]
        start = cache.length
        span = Span(1, len(states) - start, states.device, cache=cache)
        new = torch.tensor([tokens[start : len(states)]], device=states.device)
        out, logits = self.modules[number](states[None, start:], new, span, cache.layers[0])
        cache.advance(span)
        self._made[number] = made = out[0] if made is None else torch.cat((made[:start], out[0]))
        return made, logits[0, -1]
