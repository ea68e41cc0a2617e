"""Times things in turns, and words what came out."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import median
from typing import Any

TABLES: list[dict[str, list[str] | list[list[str]]]] = []  # of this run, in order: for its history


def alternate(*sides: Callable[[], float], repeats: int) -> list[list[float]]:
    """Seconds of each side: one turn each that does not count, then `repeats` that do."""
    for side in sides:
        side()
    turns = [[side() for side in sides] for _ in range(repeats)]
    return [list(column) for column in zip(*turns, strict=True)]


def seconds(action: Callable[[], object]) -> float:
    """Of the clock, that an action takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def in_a_child(code: str, *arguments: str) -> float:
    """The number that a piece of Python prints last, run in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, *arguments], check=True, capture_output=True, text=True, env=os.environ
    )
    return float(done.stdout.split()[-1])


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """How many times ours is as fast, turn by turn."""
    found = [b / a for a, b in zip(ours, theirs, strict=True)]
    return spread(found, "×")


def spread(values: Sequence[float], unit: str, scale: float = 1.0) -> str:
    """Median, least and most."""
    middle, least, most = (scale * value for value in (median(values), min(values), max(values)))
    return f"{middle:.3g} {unit} ({least:.3g} to {most:.3g})".replace(" ×", "×")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Markdown; what it says is kept in TABLES too."""
    TABLES.append({"head": [*head], "rows": [[*row] for row in rows]})
    return [f"| {' | '.join(head)} |", "|---" * len(head) + "|", *(f"| {' | '.join(row)} |" for row in rows)]


class Clocked:
    """A streamer that notes when tokens come."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def put(self, tokens: Any) -> None:
        """One more is there."""
        self.times.append(clock())

    def end(self) -> None:
        """Nothing is left to do."""


def clock() -> float:
    """Seconds: of CPU with one thread, which waits for nobody, else of the clock."""
    import torch

    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def took(action: Callable[[], object]) -> float:
    """Seconds that an action takes."""
    start = clock()
    action()
    return clock() - start


def differences(times: list[float]) -> list[float]:
    """What lies between one and the next."""
    return [after - before for before, after in pairwise(times)]
