"""The answer to whether one checkpoint is another rounded: errors by role, and what no rounding explains."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from zoo.errors import UsageError, clean, some
from zoo.weights.account import grouped

if TYPE_CHECKING:
    from zoo.checkpoint.inspection import Ledger
    from zoo.difference.record import TensorChange, WeightDifference


@dataclass(frozen=True)
class RoleError:
    """Relative errors |B - A| / |A| of the weights of one role."""

    role: str
    count: int
    median: float
    worst: float
    name: str  # of the weight with the worst


@dataclass(frozen=True)
class RoundedWeights:
    """One checkpoint as another rounded: to what, with which errors, and what is beyond that, by weight or setting."""

    side: str  # that is the other rounded: A or B
    words: str
    roles: tuple[RoleError, ...]
    beyond: dict[str, tuple[str, ...]]
    errors: tuple[float, ...] = ()  # of the weights that were changed

    @classmethod
    def of(cls, d: WeightDifference) -> RoundedWeights:
        """What a difference says of it."""
        changed = [t for t in d.tensors if t.fit is not None and t.tally.changed]
        errors = tuple(t.fit.relative for t in changed if t.fit is not None)
        kinds = Counter(t.fit.words + ("" if t.fit.is_nearest else ", calibrated") for t in changed if t.fit)
        words = ", ".join(f"{name} ({count})" for name, count in kinds.most_common())
        return cls(d.coarser, words or "numbers that it has already", tuple(_roles(d)), _beyond(d), errors)

    @property
    def median(self) -> float:
        """The median of the relative errors of all weights that were changed."""
        return median(self.errors) if self.errors else 0.0

    @property
    def explains(self) -> bool:
        """Whether rounding is all that there is between the two."""
        return not self.beyond

    def lines(self, a: str = "A", b: str = "B") -> list[str]:
        """All this for people, a line each; `a` and `b` are what the sides are called."""
        rounded, whole = (a, b) if self.side == "A" else (b, a)
        told = [f"{rounded} is {'' if self.explains else 'not '}{whole} rounded to {self.words}"]
        for role in self.roles:
            worst = f", worst {role.worst:.2%} in {role.name}" if role.count > 1 else ""
            told.append(f"{role.role}: relative error {role.median:.2%}{' median' if worst else ''}{worst}")
        for name, reasons in list(self.beyond.items())[:8]:
            told.append(f"beyond rounding: {clean(name, 120)}: {'; '.join(reasons)}")
        if len(self.beyond) > 8:
            told.append(f"beyond rounding: {len(self.beyond) - 8} more: {some(grouped([*self.beyond][8:]), 4)}")
        return told

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "rounded": self.side, "to": self.words, "explains": self.explains, "roles": [vars(r) for r in self.roles],
            "beyond": {name: list(reasons) for name, reasons in self.beyond.items()},
        }  # fmt: skip


def rounding_between(a: Ledger | None, b: Ledger | None) -> RoundedWeights | None:
    """Whether one of two checkpoints is the other in fewer bits; None where neither is, or there are no files."""
    if a is None or b is None:
        return None
    from zoo.difference.side import WeightSource, coarser
    from zoo.difference.streaming import diff_sources

    one, other = (WeightSource(clean(ledger.source, 60), ledger) for ledger in (a, b))
    if not coarser(one, other):
        return None
    try:
        return diff_sources(one, other).rounding
    except UsageError:  # of two families
        return None


def _roles(d: WeightDifference) -> list[RoleError]:
    found = []
    for role in d.by_role:
        errors = {t.name: t.fit.relative for t in d.tensors if t.role == role and t.fit is not None and t.tally.changed}
        if errors:
            name = max(errors, key=errors.__getitem__)
            found.append(RoleError(role, len(errors), median(errors.values()), errors[name], name))
    return found


def _beyond(d: WeightDifference) -> dict[str, tuple[str, ...]]:
    """What rounding does not explain: numbers, weights that only one has, settings."""
    found = {t.name: reasons for t in d.tensors if (reasons := _of_weight(t))}
    for letter, names in (("A", d.only_a), ("B", d.only_b)):
        found |= dict.fromkeys(names, (f"only {letter} has it",))
    found |= {name: (f"A has shape {[*a]}, B {[*b]}",) for name, (a, b) in d.mismatched.items()}
    return found | {name: (f"{clean(a, 40)} in A, {clean(b, 40)} in B",) for name, (a, b) in d.config.items()}


def _of_weight(t: TensorChange) -> tuple[str, ...]:
    if t.tally.not_finite:
        return ("it has NaN or infinity",)
    if t.fit is None:
        return ("its numbers are not floats, and they differ",) if t.tally.changed else ()
    return t.fit.beyond if t.tally.changed else ()
