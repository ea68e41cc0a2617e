"""The report's colours, light and dark: one belongs to each model, and all text stands on a ground that is known."""

from __future__ import annotations

from typing import NamedTuple


class Scheme(NamedTuple):
    """The colours of one scheme, as #rrggbb."""

    page: str
    surface: str  # of cards and tables
    ink: str
    muted: str  # of text that matters less
    line: str  # of rules and grids
    empty: str  # of mask cells where nothing is seen
    models: tuple[str, ...]


LIGHT = Scheme(
    "#f6f6f3", "#ffffff", "#1b1f27", "#555d6b", "#dcdfe4", "#eceef1",
    ("#1f5fbf", "#b3470f", "#1d7443", "#7b3fb0", "#0a6e80", "#b0246d", "#756000", "#4a5568"),
)  # fmt: skip
DARK = Scheme(
    "#111317", "#1a1d23", "#e9ebef", "#a3acb9", "#353a44", "#272b33",
    ("#7fb0ff", "#ff9d6b", "#6fd39a", "#c79bf2", "#5cc8d6", "#ff8fc4", "#d9be4f", "#b3bccb"),
)  # fmt: skip

TINTS = (0.10, 0.20, 0.30, 0.42)  # shares of a model's colour in the grounds that text stands on


def mix(a: str, b: str, share: float) -> str:
    """The colour with `share` of a and the rest of b."""
    return "#" + "".join(f"{round(x * share + y * (1 - share)):02x}" for x, y in zip(_rgb(a), _rgb(b), strict=True))


def tints(scheme: Scheme, number: int) -> tuple[str, ...]:
    """A model's colour, thinned."""
    return tuple(mix(scheme.models[number], scheme.surface, share) for share in TINTS)


def contrast(a: str, b: str) -> float:
    """How well one colour is read on the other, 1 to 21 (WCAG 2.2, contrast ratio)."""
    low, high = sorted((_luminance(a), _luminance(b)))
    return (high + 0.05) / (low + 0.05)


def variables(scheme: Scheme, count: int) -> str:
    """CSS that sets a scheme for `count` models."""
    base = [(name, getattr(scheme, name)) for name in ("page", "surface", "ink", "muted", "line", "empty")]
    for i in range(count):
        base.append((f"m{i}", scheme.models[i]))
        base += [(f"m{i}t{k}", tint) for k, tint in enumerate(tints(scheme, i))]
    return ";".join(f"--{name}:{value}" for name, value in base)


def _rgb(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))


def _luminance(colour: str) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (x / 255 for x in _rgb(colour))]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
