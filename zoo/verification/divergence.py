"""Where two runs part: the first module, in the order in which they run, whose input agrees and whose output does not.

Shapes: B batch, T tokens.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.verification.recording import Event, shared_prefix


@dataclass(frozen=True)
class Divergence:
    """The first event that differs. `place` is the module to blame: "" is between the layers, outside of all modules.

    `gap` is the largest difference in units of the reference's root mean square; `position` the first token of a text
    at which it shows, None where events are not by token.
    """

    place: str
    event: Event
    before: str  # the last module whose output still agrees
    gap: float
    position: int | None

    def __str__(self) -> str:
        name, direction = self.event
        where = self.place or "outside the layers"
        if direction == "in":
            where += f", after {self.before or 'the input'} and before {name}"
        elif direction == "output":
            where += f", after {self.before}: the {name}"
        since = "" if self.position is None else f", from position {self.position} on"
        return f"{where} (|Δ| {self.gap:.2g}{since})"


def gap(ours: Tensor, theirs: Tensor) -> float | None:
    """The largest difference in units of the root mean square of `theirs`; None where shapes cannot be compared."""
    aligned = _aligned(theirs, ours.shape)
    if aligned is None:
        return None
    if not ours.numel():
        return 0.0
    ours, theirs = ours.double(), aligned.double()
    unit = theirs.square().mean().sqrt().item()
    worst = (ours - theirs).abs().max().item()
    if not math.isfinite(worst):
        return float("inf")  # NaN is as wrong as can be, and an infinite unit would make NaN of infinity
    return worst / unit if unit else worst


def largest_gap(ours: Mapping[Event, Tensor], theirs: Mapping[Event, Tensor]) -> float:
    """The largest difference of any event that both have; 0 where there is none."""
    found = (gap(x, theirs[event]) for event, x in ours.items() if event in theirs)
    return max((x for x in found if x is not None), default=0.0)


def first_divergence(ours: Mapping[Event, Tensor], theirs: Mapping[Event, Tensor], limit: float) -> Divergence | None:
    """The first of our events, which are in order, that differs by more than `limit`."""
    before = ""
    for event, x in ours.items():
        name, direction = event
        if event not in theirs or (worst := gap(x, theirs[event])) is None:
            continue
        if worst > limit:
            place = {"out": name, "in": _shared(before, name), "output": ""}[direction]
            return Divergence(place, event, before, worst, _position(x, theirs[event], limit))
        if direction == "out":
            before = name
    return None


def _aligned(x: Tensor, shape: torch.Size) -> Tensor | None:
    """x in our shape: batch and tokens flattened or not, heads before tokens or after; None where it is neither."""
    if x.shape == shape:
        return x
    if x.ndim == len(shape) == 4:
        return x.transpose(1, 2) if x.transpose(1, 2).shape == shape else None
    is_flat = x.numel() == shape.numel() and x.shape[-1:] == shape[-1:] and {x.ndim, len(shape)} == {2, 3}
    return x.reshape(shape) if is_flat else None


def _shared(a: str, b: str) -> str:
    """The innermost module that both are in; a stack, of which they are different layers, is none."""
    shared = shared_prefix((a, b))
    after = (name.removeprefix(shared).lstrip(".").partition(".")[0] for name in (a, b))
    return "" if any(part.isdigit() for part in after) else shared


def _position(ours: Tensor, theirs: Tensor, limit: float) -> int | None:
    """The first position of [B, T, ...] at which a row differs."""
    if ours.ndim < 3:
        return None
    aligned = _aligned(theirs, ours.shape)
    assert aligned is not None
    theirs = aligned.double()
    unit = theirs.square().mean().sqrt().clamp(min=torch.finfo(torch.float64).tiny)
    wrong = (ours.double() - theirs).abs().flatten(2).amax((0, 2)) > limit * unit
    return int(wrong.nonzero()[0]) if bool(wrong.any()) else None
