"""The mistakes that ports of language models make, the likeliest first; see repair.py for what one is."""

from __future__ import annotations

from collections.abc import Iterator

from zoo.verification.mistakes import attention, block, fused, norms, rope, weights
from zoo.verification.mistakes.repair import Case, Mistake, Repair


def mistakes() -> dict[str, Mistake]:
    """Every known mistake by its name, the likeliest first."""
    return {
        **rope.LAYOUTS, **block.MISTAKES, **attention.MISTAKES, **weights.MISTAKES,
        **norms.MISTAKES, **fused.MISTAKES, **rope.ANGLES,
    }  # fmt: skip


def repairs(case: Case) -> Iterator[Repair]:
    """Every repair of every mistake that the part's modules allow."""
    for mistake in mistakes().values():
        yield from mistake(case)
