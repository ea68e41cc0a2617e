"""The goldens of all families, read once in a run: many a test asks for all of them."""

from __future__ import annotations

from functools import cache

from zoo.registry import installed
from zoo.verification.goldens import rerun
from zoo.verification.goldens.file import Golden


@cache
def all_goldens() -> tuple[Golden, ...]:
    """Family by family."""
    return tuple(g for _, family in sorted(installed().families.items()) for g in rerun.goldens_of(family))


def goldens_of(family: str) -> list[Golden]:
    """Those of one family."""
    return [golden for golden in all_goldens() if golden.family == family]
