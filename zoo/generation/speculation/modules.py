"""A model's own modules for multi-token prediction as a draft: module k guesses the token k + 2 places on.

Where more tokens are asked for than there are modules, the last goes on from its own states and guesses, as it was
trained to where a model has but one (arXiv:2412.19437 for the modules).
Shapes: T tokens, P pairs of a state and a later token, D hidden, V vocab.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from zoo.generation.speculation.guess import Guess, Pick


class LooksAhead(Protocol):
    """A model with such modules, as zoo.nn.AheadDecoder is one."""

    num_ahead: int

    def new_ahead_cache(self, number: int, max_len: int) -> Any:
        """An empty cache of module `number` for one row."""
        ...

    def read_ahead(self, number: int, x: Tensor, tokens: Sequence[int], cache: Any) -> tuple[Tensor, Tensor]:
        """Module `number` on states x [P, D] and the tokens behind: its own [P, D], and the logits of the last, [V]."""
        ...


class ModulesDraft:
    """Guesses as many tokens as there are modules, or `num_tokens`, each row by itself."""

    def __init__(self, model: LooksAhead, num_tokens: int | None = None) -> None:
        self.model, self.num_tokens = model, num_tokens or model.num_ahead
        self._cache: Any = None
        self._rows: dict[int, ModulesReader] = {}

    def watch(self, cache: Any) -> None:
        """Guess from now on for the rows of this cache."""
        cache.watch()
        self._cache, self._rows = cache, {}

    def propose(self, tokens: list[int], most: int) -> list[int]:
        """The likeliest tokens after the only row."""
        return self.guess_rows([tokens], [most], lambda row, guessed, logits: (int(logits.argmax()), None))[0].tokens

    @torch.inference_mode()
    def guess_rows(self, rows: Sequence[list[int]], most: Sequence[int], pick: Pick) -> list[Guess]:
        """A guess for each row, of at most `most[r]` tokens."""
        found = []
        for number, (text, states, count) in enumerate(zip(rows, self._cache.states, most, strict=True)):
            reader = self._rows.setdefault(number, ModulesReader(self.model, self._cache.max_len))
            found.append(reader.guess(text, states, min(count, self.num_tokens), partial(pick, number)))
        return found


class ModulesReader:
    """The modules beside their caches, which hold the pairs of one row of which both tokens are certain."""

    def __init__(self, model: LooksAhead, max_len: int) -> None:
        self.model = model
        self._caches = [model.new_ahead_cache(number, max_len) for number in range(model.num_ahead)]
        self._made: list[Tensor | None] = [None] * model.num_ahead  # normed states [P, D] that each module gave

    def guess(
        self, text: list[int], states: Tensor, most: int, pick: Callable[[list[int], Tensor], tuple[int, Any] | None]
    ) -> Guess:
        """What follows `text`, of whose tokens but the last there are states [T - 1, D]."""
        guess, end, last = Guess(), len(text) - 1, len(self._caches) - 1
        for number in range(most):
            if number <= last:
                states, logits = self._read(number, states[:end], [*text, *guess.tokens][number + 1 :])
            else:
                states, logits = self.model.read_ahead(last, states[-1:], guess.tokens[-1:], self._caches[last])
            picked = pick(guess.tokens, logits)
            if picked is None:
                break
            guess.tokens.append(picked[0])
            guess.shares.append(picked[1])
        for number, cache in enumerate(self._caches):  # the pairs of guesses go
            cache.rewind(min(cache.length, max(0, end - number)))
        return guess

    def _read(self, number: int, states: Tensor, tokens: list[int]) -> tuple[Tensor, Tensor]:
        """Read the pairs of states [P, D] and tokens that module `number` has not; its own [P, D], and logits [V]."""
        cache, made = self._caches[number], self._made[number]
        start = cache.length
        out, logits = self.model.read_ahead(number, states[start:], tokens[start : len(states)], cache)
        self._made[number] = made = out if made is None else torch.cat((made[:start], out))
        return made, logits
