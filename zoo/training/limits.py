"""What the numbers of a run may be: each is held to its limits before anything is read or written."""

from __future__ import annotations

from math import inf

from zoo.errors import UsageError


def within(
    path: str, value: float | None, *, least: float = -inf, above: float = -inf, most: float = inf, below: float = inf
) -> None:
    """Raise UsageError for a number outside, and for one that is infinite or none at all; a value of None is let be.

    `least` and `most` are allowed themselves, `above` and `below` are not.
    """
    if value is None or (above < value < below and least <= value <= most):
        return
    low = f"at least {least:g}" if least > -inf else f"above {above:g}" if above > -inf else ""
    high = f"at most {most:g}" if most < inf else f"below {below:g}" if below < inf else ""
    told = " and ".join(word for word in (low, high) if word) or "finite"
    raise UsageError(f"{path}={value} is not {told}")
