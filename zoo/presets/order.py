"""Models in the order in which people count: by series and generation, and within it by size."""

from __future__ import annotations

import math
import re

SIZES = frozenset("tiny mini small base medium large huge lite xl xxl".split())
SIZE = re.compile(r"\d+(\.\d+)?[kmbt]", re.IGNORECASE)

Key = tuple[tuple[bool, float, str], ...]


def order(name: str, parameters: int | None) -> tuple[Key, float, Key]:
    """What models sort by: llama3-8b before llama3-70b before llama3.1-8b; gpt2 before gpt2-medium and gpt2-large."""
    series = "-".join(part for part in name.split("-") if part not in SIZES and not SIZE.fullmatch(part))
    return natural(series), math.inf if parameters is None else parameters, natural(name)


def natural(text: str) -> Key:
    """A text whose numbers sort as numbers."""
    parts = re.findall(r"\d+(?:\.\d+)?|[^\d]+", text)
    return tuple((False, float(p), "") if p[0].isdecimal() else (True, 0.0, p) for p in parts)
