"""How far a reference is from itself: what it gives when it computes the same numbers in another way.

A difference that the reference has with itself says nothing against a model. It is measured and not assumed, and only
what can be rounding counts: a reference that is further from itself than that proves nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from zoo.errors import ZooError
from zoo.verification.comparing import worst_gap
from zoo.verification.recording import Side

EXACT = "its constants in float64"
SHAKEN = "its constants moved by half a unit of float32"
# The most that is taken for rounding, in units of the root mean square. In float64 it can only come from parts that are
# float32 all the same: each errs by 6e-8, and a few layers add up.
CREDIBLE = {"float64": 1e-6, "float32": 1e-3, "float16": 1e-1, "bfloat16": 5e-1}
# Sinusoids in float32 err by 6e-8 times the position. They excuse no one, for the model is held to the exact ones too.
CREDIBLE_CONSTANTS = 1e-4


@dataclass(frozen=True)
class Noise:
    """Differences of a reference with itself, by the way in which it computed the second time."""

    ways: dict[str, float] = field(default_factory=dict)
    too_much: dict[str, float] = field(default_factory=dict)  # more than rounding is
    exact: dict[str, Tensor] | None = None  # what it gives with its constants in float64, where that is rounding

    @property
    def way(self) -> str:
        """The way that makes the most of a difference."""
        return max(self.ways, key=self.ways.__getitem__, default="")

    @property
    def size(self) -> float | None:
        """The largest difference that is rounding; None where none was to be had."""
        return max(self.ways.values(), default=None)

    @property
    def of_sums(self) -> float | None:
        """The same without that of the constants."""
        return max((x for way, x in self.ways.items() if way != EXACT), default=None)

    def notes(self) -> list[str]:
        """What has to be said of a reference that cannot be relied upon."""
        return [
            f"the reference differs from itself by {x:.1e} ({way}), which is more than rounding: it "
            "cannot show that the two are the same"
            for way, x in self.too_much.items()
        ]


@torch.no_grad()
def measure(side: Side, given: dict[str, Tensor], dtype: torch.dtype) -> Noise:
    """Run a reference in every other way that it has and hold that to what it has `given`."""
    most = CREDIBLE[str(dtype).removeprefix("torch.")]
    found = {way: _gap(_run(run), given) for way, run in side.ways.items()}
    exact = None if side.exact is None else _run(side.exactly().run)
    sizes = {way: x for way, x in found.items() if x is not None}
    ways = {way: x for way, x in sizes.items() if x <= most}
    too_much = {way: x for way, x in sizes.items() if not x <= most}
    if (apart := _gap(exact, given)) is not None:
        (ways if apart <= CREDIBLE_CONSTANTS else too_much)[EXACT] = apart
    return Noise(ways, too_much, exact if EXACT in ways else None)


@torch.no_grad()
def measure_constants(side: Side, given: dict[str, Tensor], dtype: torch.dtype) -> float:
    """What the rounding of constants leaves of a model that knows no better ones; 0 where they are exact."""
    apart = _gap(_run(side.ways[SHAKEN]), given) if SHAKEN in side.ways else None
    return 0.0 if apart is None or not apart <= CREDIBLE[str(dtype).removeprefix("torch.")] else apart


def _run(run: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor] | None:
    """What a reference gives; None where it cannot be run in this way."""
    try:
        return run()
    except (ZooError, RuntimeError, NotImplementedError):
        return None


def _gap(found: dict[str, Tensor] | None, given: dict[str, Tensor]) -> float | None:
    apart = None if found is None else worst_gap(found, given)
    return apart if apart is None or not math.isnan(apart) else math.inf
