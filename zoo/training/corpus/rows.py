"""How rows are cut out of a corpus: each a list of spans, pieces of documents that do not see each other.

Counts are tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from zoo.training.corpus.tokens import Corpus

Part = tuple[int, int]  # from where to where in the corpus a row reads; what it predicts stands one token on


@dataclass(frozen=True)
class Rows:
    """`count` rows; `parts(i)` are those of row i."""

    count: int
    parts: Callable[[int], list[Part]]

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> list[Part]:
        return self.parts(i)


def windows(corpus: Corpus, length: int, *, is_masked: bool) -> Rows:
    """The corpus as one stream, cut every `length` tokens; where `is_masked`, cut between documents too.

    Every token but the first is predicted once, and where rows are masked, but the first of each document.
    """
    total = len(corpus.ids) - 1

    def parts(i: int) -> list[Part]:
        start, end = i * length, min((i + 1) * length, total)
        if not is_masked:
            return [(start, end)]
        inner = corpus.starts[np.searchsorted(corpus.starts, start, "right") : np.searchsorted(corpus.starts, end)]
        edges = [start, *map(int, inner), end]
        return [(a, b) for a, b in pairwise(edges) if b > a]

    return Rows(-(-total // length), parts)


def cuts(corpus: Corpus, length: int, *, least: int = 1) -> Rows:
    """Each document cut into runs of `length` tokens, all of which are read; runs shorter than `least` are left out."""
    found = [
        (a, min(a + length, end))
        for start, end in pairwise(corpus.starts.tolist())
        for a in range(start, end, length)
        if min(a + length, end) - a >= least
    ]
    return Rows(len(found), lambda i: [found[i]])


def pieces(corpus: Corpus, length: int) -> Rows:
    """A row for each document; a longer one than `length` becomes several."""
    found = [
        (a, min(a + length, end - 1))
        for start, end in pairwise(corpus.starts.tolist())
        for a in range(start, end - 1, length)
    ]
    return Rows(len(found), lambda i: [found[i]])


def shared_rows(corpus: Corpus, length: int) -> Rows:
    """Whole documents side by side in their order, as many as fit into `length`; a longer one is cut."""
    rows: list[list[Part]] = []
    room = 0
    for i in range(len(found := pieces(corpus, length))):
        ((start, end),) = found[i]
        if end - start > room:
            rows.append([])
            room = length
        rows[-1].append((start, end))
        room -= end - start
    return Rows(len(rows), rows.__getitem__)
