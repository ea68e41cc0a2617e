"""Times things in turns, and words what came out."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from statistics import median


def alternate(*sides: Callable[[], float], repeats: int) -> list[list[float]]:
    """Seconds of each side: one turn each that does not count, then `repeats` that do."""
    for side in sides:
        side()
    turns = [[side() for side in sides] for _ in range(repeats)]
    return [list(column) for column in zip(*turns, strict=True)]


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
    """Markdown."""
    return [f"| {' | '.join(head)} |", "|---" * len(head) + "|", *(f"| {' | '.join(row)} |" for row in rows)]
