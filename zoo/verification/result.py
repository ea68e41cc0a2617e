"""The answer of a verification, in words, as JSON values and as HTML."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from zoo.difference.rounded import RoundedWeights
from zoo.report.notebook import facts
from zoo.verification.bounds import Limit
from zoo.verification.comparing import CACHED, Measure
from zoo.verification.diagnosis import Explanation
from zoo.verification.divergence import Divergence
from zoo.verification.noise import Noise


@dataclass
class Verification:
    """One model against a reference: what was measured, and, where it fails, where and why."""

    source: str
    reference: str
    family: str
    dtype: str
    inputs: str
    measures: list[Measure]
    layers: dict[str, float]  # layer -> largest difference of what leaves it, in units of its root mean square
    num_layers: int  # all, with those that the reference has no counterpart of
    difference: float  # the largest of any output, in units of its root mean square
    noise: Noise  # of the reference, with itself
    limit: Limit
    divergence: Divergence | None = None
    explanations: list[Explanation] = field(default_factory=list)
    unexplained: Divergence | None = None  # where they still part once all that was found is mended
    rounding: RoundedWeights | None = None  # of one side's weights to fewer bits, where that may be the difference
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether everything that has a limit is within it, or rounding explains what is not."""
        return all(measure.is_ok or (self.is_rounded and measure.name != CACHED) for measure in self.measures)

    @property
    def is_rounded(self) -> bool:
        """Whether the two differ as one's weights do from the other's, which are those rounded, and in nothing else."""
        return self.rounding is not None and self.rounding.explains and not self.limit.is_given

    @property
    def verdict(self) -> str:
        """`the same`, `the same within the reference's own rounding`, `the same but for ...` or `not the same`."""
        if self.passed and not all(measure.is_ok for measure in self.measures) and self.rounding is not None:
            return f"the same but for the rounding of weights to {self.rounding.words}"
        return self.limit.verdict(self.difference, passed=self.passed)

    def table(self) -> str:
        """The whole answer in lines."""
        width = max((len(row[0]) for row in self._rows()), default=0)
        room = max((len(row[1]) for row in self._rows() if row[2]), default=0)  # what has no verdict may be longer
        lines = [
            f"source     {self.source} · {self.family}",
            f"reference  {self.reference}",
            f"inputs     {self.inputs}",
        ]
        lines += [f"note       {note}" for note in self._notes()]
        lines += [f"  {name:{width}}  {what:{room}}  {verdict}".rstrip() for name, what, verdict in self._rows()]
        return "\n".join([*lines, *self._verdict()])

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON values."""
        return {
            "passed": self.passed,
            "verdict": self.verdict,
            "difference": self.difference,
            "noise": self.noise.size,
            "noise_of": {**self.noise.ways, **self.noise.too_much},
            "limit": self.limit.value,
            "limit_source": self.limit.source,
            "limit_reason": self.limit.reason,
            "source": self.source,
            "reference": self.reference,
            "family": self.family,
            "dtype": self.dtype,
            "inputs": self.inputs,
            "measures": [measure.to_dict() for measure in self.measures],
            "layers": self.layers,
            "layers_compared": f"{len(self.layers)} of {self.num_layers}",
            "first_divergence": _divergence(self.divergence),
            "explanations": [
                {"mistake": e.mistake, "where": list(e.where), "says": e.says, "advice": e.advice}
                for e in self.explanations
            ],
            "unexplained": _divergence(self.unexplained),
            "rounding": None if self.rounding is None else self.rounding.to_dict(),
            "notes": self._notes(),
            "seconds": round(self.seconds, 3),
        }

    def html(self) -> str:
        """A small table for notebooks, without scripts or styles from elsewhere."""
        title = f"{self.source} against {self.reference}"
        return facts(title, self._rows(), [self.inputs, *self._notes(), *self._verdict()], is_bad=not self.passed)

    def _repr_html_(self) -> str:
        return self.html()

    def __str__(self) -> str:
        return self.table()

    def _rows(self) -> list[tuple[str, str, str]]:
        rows = [(m.name, _in_words(m), self._word(m)) for m in self.measures]
        if self.layers:
            worst = max(self.layers, key=self.layers.__getitem__)
            counted = f"{len(self.layers)} layers" if len(self.layers) == self.num_layers else (
                f"{len(self.layers)} of {self.num_layers} layers"
            )  # fmt: skip
            rows.append((counted, f"worst {worst}  |Δ| {self.layers[worst]:.1e}", ""))
        return rows

    def _word(self, m: Measure) -> str:
        if m.limit is None:
            return ""
        return "ok" if m.is_ok else "rounding" if self.is_rounded and m.name != CACHED else "FAIL"

    def _notes(self) -> list[str]:
        return [*self.notes, *self.noise.notes()]

    def _verdict(self) -> list[str]:
        size, limit = self.noise.size, self.limit
        own = "not measured" if size is None else f"{size:.1e} ({self.noise.way})"
        lines = [
            f"difference {self.difference:.1e}; noise of the reference {own}; "
            f"limit {limit.value:.1e}, {limit.source}: {limit.reason}",
            f"{self.verdict}.  {self.seconds:.1f} s",
        ]
        if self.rounding is not None:
            lines += self.rounding.lines("the reference", "the source")
        if self.passed or self.rounding is not None:
            return lines
        if self.divergence is not None:
            lines.append(f"first divergence: {self.divergence}")
        lines += [f"explained by: {explanation}" for explanation in self.explanations]
        if self.divergence is None:
            lines.append("no module differs by more than rounding")
        elif not self.explanations:
            lines.append("explained by: none of the known mistakes")
        elif self.unexplained is not None:
            lines.append(f"and a difference that no known mistake explains: {self.unexplained}")
        return lines


def _in_words(m: Measure) -> str:
    parts = [f"max |Δ| {m.max:.1e}"] if m.name != "next token" and not m.said.startswith("not run") else []
    parts += [f"mean {m.mean:.1e}"] if m.mean is not None else []
    parts += [f"limit {m.limit:.0e}"] if m.limit is not None and m.name != "next token" else []
    return "  ".join([*parts, m.said])


def _divergence(found: Divergence | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "place": found.place, "event": list(found.event), "after": found.before, "difference": found.gap,
        "position": found.position, "said": str(found),
    }  # fmt: skip
