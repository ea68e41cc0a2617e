"""Whether two results are the same.

Logits are compared in float64, where both sides differ by the order of sums alone: about 1e-14 of numbers of order 1.
LIMIT leaves five orders of magnitude to that, and stays as many below what a wrong mask or position does.

Shapes: B batch, T tokens.
"""

from __future__ import annotations

from torch import Tensor

from zoo.testing.check import Broken, Skipped
from zoo.testing.subject import Subject

LIMIT = 1e-9


def runnable(s: Subject) -> Subject:
    """The subject, if the kit can make what it reads."""
    if unknown := [name for name in s.inputs if name not in ("tokens", "decoder_tokens", "pixels")]:
        raise Skipped(f"it takes {', '.join(unknown)}, and the kit cannot make such inputs")
    return s


def reading(s: Subject) -> Subject:
    """The subject, if it reads text."""
    if "tokens" not in runnable(s).inputs:
        raise Skipped("it does not read text")
    return s


def per_position(s: Subject, tokens: Tensor) -> dict[str, Tensor]:
    """The outputs that have a row for every token."""
    return {name: x for name, x in s.run(tokens).items() if x.shape[:2] == tokens.shape}


def difference(a: Tensor, b: Tensor) -> float:
    """The largest difference, in units of 1 or of the largest number where that is above 1."""
    if a.shape != b.shape:
        raise Broken(f"shape {list(a.shape)}, expected {list(b.shape)}")
    if not a.numel():
        return 0.0
    gap = (a - b).abs().max().item() / max(1.0, b.abs().max().item())
    return gap if gap == gap else float("inf")  # NaN is as wrong as can be
