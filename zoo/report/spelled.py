"""A text as each model met it: the stronger a piece is coloured, the less the model expected it."""

from __future__ import annotations

from collections.abc import Sequence

from zoo.report.palette import TINTS
from zoo.report.svg import Markup, element

STEPS = (1.0, 3.0, 6.0)  # nats from which on a piece is coloured, and then more strongly: 1 in 3, in 20, in 400


def spelled(pieces: Sequence[tuple[str, float]]) -> Markup:
    """The pieces of a text, each on a tint of its model's colour."""
    shades = [element("span", text, class_=tint(loss), title=f"{loss:.2f} nats") for text, loss in pieces]
    return element("p", *shades, class_="text")


def tint(loss: float) -> str:
    """The class of a piece; the plainest tint is left for what was expected."""
    step = sum(loss >= step for step in STEPS)
    return f"g{min(step, len(TINTS)) - 1}" if step else "plain"
