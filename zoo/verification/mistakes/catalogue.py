"""The mistakes that ports of language models make, the likeliest first; see zoo.verification.mistakes.repair for what one is."""

from __future__ import annotations

from collections.abc import Iterator

from zoo.verification import (
    mistakes_attention,
    mistakes_block,
    mistakes_fused,
    mistakes_norms,
    mistakes_rope,
    mistakes_weights,
)
from zoo.verification.mistakes.repair import Case, Mistake, Repair


def mistakes() -> dict[str, Mistake]:
    """Every known mistake by its name, the likeliest first."""
    return {
        **mistakes_rope.LAYOUTS, **mistakes_block.MISTAKES, **mistakes_attention.MISTAKES, **mistakes_weights.MISTAKES,
        **mistakes_norms.MISTAKES, **mistakes_fused.MISTAKES, **mistakes_rope.ANGLES,
    }  # fmt: skip


def repairs(case: Case) -> Iterator[Repair]:
    """Every repair of every mistake that the part's modules allow."""
    for mistake in mistakes().values():
        yield from mistake(case)
