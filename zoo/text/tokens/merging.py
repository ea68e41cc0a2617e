"""The merges of a BPE vocabulary that lists tokens only: every way to put a token together from two others.

All ways may be listed, though the vocabulary's own algorithm takes one of them: within a token it merges as it would if
the token stood alone, so only one pair of parts ever stands side by side. What matters is the order among tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

MAX_CUTS = 1 << 27  # characters of all parts that tokens are cut into; 32,000 tokens of LLaMA have 2 million


def are_cut_in_bounds(tokens: Iterable[str]) -> bool:
    """Whether looking at all parts of all tokens takes seconds at most."""
    return sum(len(token) ** 2 for token in tokens) <= MAX_CUTS


def merges_of(ranks: Mapping[str, Any], vocab: Mapping[str, int]) -> list[tuple[str, str]]:
    """Pairs in the order in which they merge, the lowest rank first; of equal ranks, longer left parts first."""
    ranked = []
    for token, rank in ranks.items():
        cuts = ((token[:i], token[i:]) for i in range(1, len(token)))
        ranked += [(rank, left, right) for left, right in cuts if left in ranks and right in ranks]
    ranked.sort(key=lambda m: (m[0], -len(m[1]), vocab[m[1]], vocab[m[2]]))
    return [(left, right) for _, left, right in ranked]
