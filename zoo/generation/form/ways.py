"""JSON that must be completed soon: a short way to its end is searched, through tokens of one character or byte.

The search is of the best first, where few choices are better than many, and another choice of tokens better than the
same, as a quote is better than another letter of a string. States in which the same tokens may follow are taken for the
same at one length.
"""

from __future__ import annotations

import heapq
from itertools import count
from typing import Any

import torch
from torch import Tensor

from zoo.generation.form.reading import FAR, FormState

SLACK = 8  # tokens left beyond the way that is known, at which every token of the form may come
TRIED = 12  # likeliest tokens of which one may come that leaves enough room
MOST = 4000  # states of a search
SAME, MANY = 4, 8  # tokens that a step is worth which opens no other choice, or that of a quarter of the vocabulary


class Ways:
    """The closing of grammars."""

    def __init__(self, spelling: Any, eos: frozenset[int]) -> None:
        self.eos = eos
        told = [spelling.decode_bytes([token]) for token in range(spelling.vocab_size)]
        short = [i for i, text in enumerate(told) if _is_short(text) and not spelling.is_special_token(i)]
        ascii_alone = [i for i in short if told[i].isascii()]
        self._short, self._many = (ascii_alone, short), spelling.vocab_size // 4

    def narrowed(self, state: FormState, allowed: Tensor, scores: Tensor, left: int) -> Tensor:
        """See `Closing`."""
        if left > FAR:
            return allowed
        state.way = self._way(state.matcher, state.way, left)
        if state.way is None or len(state.way) + SLACK <= left:
            return allowed
        kept = torch.zeros_like(allowed)
        kept[[*state.way[:1], *(token for token in self.eos if token < len(kept))]] = True
        likeliest = scores.masked_fill(~allowed, -torch.inf).topk(min(TRIED, len(scores)))
        for token, score in zip(likeliest.indices.tolist(), likeliest.values.tolist(), strict=True):
            child = state.matcher.deep_copy()
            if score > -torch.inf and token not in self.eos and child.try_consume_tokens([token]):
                kept[token] = self._way(child, state.way, left - 1) is not None
        return kept & allowed

    def _way(self, matcher: Any, known: tuple[int, ...] | None, most: int) -> tuple[int, ...] | None:
        """Tokens, `most` at most, that complete the text: those that are known, if they still do, or a new way."""
        if known is not None and len(known) <= most:
            trial = matcher.deep_copy()
            if trial.try_consume_tokens(list(known)) == len(known) and trial.is_accepting():
                return known
        return self._searched(matcher, most)

    def _searched(self, matcher: Any, most: int) -> tuple[int, ...] | None:
        order, seen = count(), set()
        queue: list[tuple[int, int, tuple[int, ...], Any, bytes]] = [(0, 0, (), matcher, matcher.compute_bitmask())]
        while queue:
            cost, _, way, state, mask = heapq.heappop(queue)
            if state.is_accepting():
                return way
            for step in self._steps(state, mask):
                child, longer = state.deep_copy(), (*way, *step)
                if len(longer) > most or child.try_consume_tokens(step) < len(step):
                    continue
                follows = child.compute_bitmask()
                if (len(longer), follows) in seen:
                    continue
                seen.add((len(longer), follows))
                is_wide = int.from_bytes(follows).bit_count() > self._many
                price = cost + len(step) + SAME * (follows == mask) + MANY * is_wide
                heapq.heappush(queue, (price, next(order), longer, child, follows))
            if next(order) > MOST:
                return None
        return None

    def _steps(self, state: Any, mask: bytes) -> list[list[int]]:
        """What may follow: the tokens that must, or each of the short ones that may, of ASCII where there are any."""
        if forced := state.compute_ff_tokens():
            return [forced]
        may = ([[t] for t in tokens if mask[t >> 3] >> (t & 7) & 1] for tokens in self._short)
        return next(filter(None, may), [])


def _is_short(told: bytes) -> bool:
    return len(told) == 1 or (len(told) < 5 and len(told.decode("utf-8", "ignore")) == 1)
