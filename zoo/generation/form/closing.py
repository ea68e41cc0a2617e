"""Whether a form can still be completed within the tokens that are left, and which tokens leave it so.

Far from the limit nothing is looked for. Near it, the shortest way to a complete text is searched through tokens of one
character or byte, and where the way is about as long as what is left, only tokens stay from which one is known.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor

FAR = 64  # tokens left from which on nothing is looked for
SLACK = 8  # tokens left beyond the shortest way at which every token of the form may come
TRIED = 12  # likeliest tokens of which one may come that leaves enough room
MOST = 3000  # states of a search


class Closing:
    """The search for the shortest way to a complete text."""

    def __init__(self, spelling: Any, eos: frozenset[int]) -> None:
        self.eos = eos
        sizes = [spelling.decode_bytes([token]) for token in range(spelling.vocab_size)]
        self._short = [i for i, told in enumerate(sizes) if _is_short(told) and not spelling.is_special_token(i)]

    def narrowed(self, allowed: Tensor, matcher: Any, scores: Tensor, left: int) -> Tensor:
        """Those of the `allowed` tokens, bool [V], from which the text can be completed in `left` tokens with them."""
        if left > FAR:
            return allowed
        way = self.shortest(matcher, left)
        if way is None or len(way) + SLACK <= left:
            return allowed
        likeliest = scores.masked_fill(~allowed, -torch.inf).topk(min(TRIED, len(scores)))
        tried = [
            t for t, s in zip(likeliest.indices.tolist(), likeliest.values.tolist(), strict=True) if s > -torch.inf
        ]
        kept = torch.zeros_like(allowed)
        kept[[*way[:1], *(token for token in self.eos if token < len(kept))]] = True
        ways: dict[bytes, bool] = {}  # by the tokens that may follow: equal masks are taken for the same state
        for token in tried:
            child = matcher.deep_copy()
            if token in self.eos or not child.try_consume_tokens([token]):
                continue
            state = child.compute_bitmask()
            if state not in ways:
                ways[state] = self.shortest(child, left - 1) is not None
            kept[token] = ways[state]
        return kept & allowed

    def shortest(self, matcher: Any, most: int) -> list[int] | None:
        """The fewest tokens, `most` at most, that complete the text; None where the search finds none."""
        reached: dict[int, dict[bytes, tuple[Any, list[int]]]] = defaultdict(dict)
        reached[0][b""] = matcher, []
        count = 0
        for length in range(most + 1):
            for state, way in reached.pop(length, {}).values():
                if state.is_accepting():
                    return way
                for step in self._steps(state):
                    child = state.deep_copy()
                    if length + len(step) > most or child.try_consume_tokens(step) < len(step):
                        continue
                    count += 1
                    reached[length + len(step)].setdefault(child.compute_bitmask(), (child, way + step))
                if count > MOST:
                    return None
        return None

    def _steps(self, state: Any) -> list[list[int]]:
        """What may follow: the tokens that must, or each of the short ones that may."""
        if forced := state.compute_ff_tokens():
            return [forced]
        mask = state.compute_bitmask()
        return [[token] for token in self._short if mask[token >> 3] >> (token & 7) & 1]


def _is_short(told: bytes) -> bool:
    return len(told) == 1 or (len(told) < 5 and len(told.decode("utf-8", "ignore")) == 1)
