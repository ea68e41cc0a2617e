"""How far apart two models may be: what any rounding leaves, what the reference's own leaves, or what was asked for."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from zoo.verification.noise import EXACT, Noise

GIVEN = "given"
SAME, ROUNDING, OTHER = "the same", "the same within the reference's own rounding", "not the same"

# The most that rounding explains, in units of the reference's root mean square. Both sides add up the same numbers in
# another order: a sum of n of them errs by about sqrt(n) units in the last place, and tens of layers pile errors up.
LIMITS = {
    "float64": (1e-9, "rounding leaves 1e-14, and even another eps moves more"),
    "float32": (1e-4, "rounding leaves about 1e-5 after tens of layers"),
    "float16": (3e-2, "each number errs by 5e-4, and tens of layers add up"),
    "bfloat16": (2e-1, "each number errs by 4e-3, and tens of layers add up"),
}
DEQUANTISED = (1e-6, "each side converts blocks of integers to float32 by itself, which rounds by 6e-8")
# In float64 both sides are as exact as they can be, and the reference's own sums say how much less it is: over all
# families two programs are as far apart as two ways of one. In a narrower dtype they also round angles differently.
LOWEST = {"float64": 1e-12}
TIMES_SUMS = 16
TIMES = 4  # two ways round by as much as each of them, and one measurement is not the largest


@dataclass(frozen=True)
class Limit:
    """The largest difference that is let pass, and the word for what is within it."""

    value: float
    plain: float  # up to here it is any rounding in this dtype, and the models are the same without more words
    source: str
    reason: str

    def verdict(self, difference: float, *, passed: bool) -> str:
        """One of three: see SAME, ROUNDING and OTHER."""
        if not passed:
            return OTHER
        return SAME if difference <= self.plain or self.is_given else ROUNDING

    @property
    def is_given(self) -> bool:
        """Whether the caller chose it."""
        return self.source == GIVEN

    def exact(self, noise: Noise) -> float | None:
        """The limit against the reference with its constants in float64; None where they change nothing that counts."""
        if noise.exact is None or noise.ways[EXACT] <= self.plain:
            return None
        return max(self.plain, TIMES * (noise.of_sums or 0.0))


def limit_for(dtype: torch.dtype, noise: Noise, *, given: float | None = None, is_quantised: bool = False) -> Limit:
    """The limit of a comparison in `dtype` with a reference of this noise; `given` goes before all that is measured."""
    word = str(dtype).removeprefix("torch.")
    plain, reason = max(_plain(word, noise), DEQUANTISED) if is_quantised else _plain(word, noise)
    if given is not None:
        return Limit(given, plain, GIVEN, "set by the caller")
    if noise.size is None or TIMES * noise.size <= plain:
        return Limit(plain, plain, f"the rounding of {word}", reason)
    said = f"{TIMES} times the reference's difference from itself: {noise.way}"
    return Limit(TIMES * noise.size, plain, "the reference's own noise", said)


def _plain(word: str, noise: Noise) -> tuple[float, str]:
    """What a dtype's rounding leaves of this reference, and why."""
    most, reason = LIMITS[word]
    if noise.of_sums is None or word not in LOWEST:
        return most, reason
    return min(
        most, max(LOWEST[word], TIMES_SUMS * noise.of_sums)
    ), f"the rounding of the reference's sums is {noise.of_sums:.0e}"
