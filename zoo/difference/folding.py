"""Scales that were moved from the columns of matrices into what comes before them, as AWQ does before it rounds.

A norm divided by s and columns multiplied by s give the same product; so do rows of one matrix and columns of the next.
N rows, K columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from zoo.difference.grid import Grid
from zoo.difference.record import TensorChange
from zoo.difference.rounding import Fit, fit
from zoo.difference.side import WeightSource

if TYPE_CHECKING:
    from torch import Tensor

ATTENTION, MLP = ("attn.q_proj", "attn.k_proj", "attn.v_proj"), ("mlp.gate_proj", "mlp.up_proj")
OF_NORMS = {"attn_norm": ATTENTION, "mlp_norm": MLP, "norm": (*ATTENTION, *MLP)}  # the last where they are parallel
OF_ROWS = {"attn.v_proj": "attn.o_proj", "mlp.up_proj": "mlp.down_proj"}
PLUS = (0.0, 1.0)  # what a norm adds to its weight: 1 in Gemma's
LEAST = 0.02  # by which a scale differs from 1 where scales were moved: they are of whole matrices, not of a row
NEAR = 0.1  # of a column that is scaled back, beside what rounding leaves of it

Pair = Callable[[str], "tuple[Tensor, Tensor]"]  # a weight of the original and of the rounded one


def unfolded(
    one: WeightSource, other: WeightSource, changes: Sequence[TensorChange], side: str
) -> tuple[TensorChange, ...]:
    """The changes, those that are folded scales and rounding held to the original with the scales in it."""
    layers: dict[str, dict[str, TensorChange]] = {}
    for change in changes:
        if change.layer is not None:
            prefix = f"{change.stack}.{change.layer}."
            layers.setdefault(prefix, {})[change.name.removeprefix(prefix)] = change
    wrong = {prefix: held for prefix, held in layers.items() if any(_is_beyond(t) for t in held.values())}
    if not any((_is_beyond(t) and t.role == "norm") or _is_source(n, t) for h in wrong.values() for n, t in h.items()):
        return tuple(changes)
    found: dict[str, Fit] = {}
    whole, rounded = (one, other) if side == "B" else (other, one)
    with whole.ledger.checkpoint.open() as before, rounded.ledger.checkpoint.open() as after:
        owners = [{n: step for step in s.ledger.account.steps for n in step.ours} for s in (whole, rounded)]

        def pair(name: str) -> tuple[Tensor, Tensor]:
            left, right = owners[0][name], owners[1][name]
            a, b = whole.read(before, [left], {name: ""})[name], rounded.read(after, [right], {name: ""})[name]
            return a.double(), b.double()

        def grid(name: str) -> Grid | None:
            return rounded.grid([owners[1][name]], name)

        for prefix, held in wrong.items():
            found |= _Layer(prefix, held, pair, grid).fits()
    return tuple(replace(t, fit=found[t.name]) if t.name in found else t for t in changes)


@dataclass
class _Layer:
    """The weights of one layer, by their names in it."""

    prefix: str
    held: Mapping[str, TensorChange]
    pair: Pair
    grid: Callable[[str], Grid | None]  # of a weight by its whole name, on the rounded side

    def fits(self) -> dict[str, Fit]:
        """The fits of the weights that scales explain."""
        found: dict[str, Fit] = {}
        for norm, readers in OF_NORMS.items():
            names = [f"{reader}.weight" for reader in readers if f"{reader}.weight" in self.held]
            for scales in self._scales(f"{norm}.weight"):
                if (fits := self._of_readers(names, scales, norm)) is not None:
                    found |= fits
                    break
        for first in (f"{source}.weight" for source in OF_ROWS):
            if first in self.held and _is_beyond(self.held[first]) and first not in found:
                found |= self._of_rows(first, None) or {}
        return {self.prefix + name: fit for name, fit in found.items()}

    def _scales(self, norm: str) -> Iterator[Tensor]:
        """By what a norm was divided, if it was by something."""
        if norm not in self.held or not _is_beyond(self.held[norm]):
            return
        a, b = self.pair(self.prefix + norm)
        for plus in PLUS:
            if bool(((b + plus) != 0).all()) and bool((scales := (a + plus) / (b + plus)).isfinite().all()):
                yield scales

    def _of_readers(self, names: Sequence[str], scales: Tensor, norm: str) -> dict[str, Fit] | None:
        """The fits of all that reads a norm, with the scales in its columns; None where one has them not."""
        found: dict[str, Fit] = {}
        for name in names:
            a, b = self.pair(self.prefix + name)
            if a.shape[-1] != len(scales):
                return None
            one = self._held_to(name, a * scales, b, f"columns scaled as {norm} undoes it")
            fits = self._of_rows(name, scales) if one is None else {name: one}
            if fits is None:
                return None
            found |= fits
        given = self.held[f"{norm}.weight"].fit
        if not found or given is None:
            return None
        return found | {f"{norm}.weight": replace(given, words="scales of columns taken in", beyond=())}

    def _of_rows(self, first: str, columns: Tensor | None) -> dict[str, Fit] | None:
        """The fits of a matrix whose rows are scaled, beside its columns, and of the one that undoes it."""
        reader = OF_ROWS.get(first.removesuffix(".weight"), "")
        if (second := f"{reader}.weight") not in self.held:
            return None
        (a, b), (c, d) = self.pair(self.prefix + first), self.pair(self.prefix + second)
        a = a if columns is None else a * columns
        rows = (a * b).sum(1) / a.square().sum(1).clamp(min=1e-300)
        if c.shape[-1] != len(rows) or not bool((rows > 0).all()) or not _is_undone(rows, c, d):
            return None
        one = self._held_to(first, a * rows[:, None], b, f"rows scaled as {reader} undoes it")
        two = self._held_to(second, c / rows, d, f"columns scaled as {first.removesuffix('.weight')} undoes it")
        return None if one is None or two is None else {first: one, second: two}

    def _held_to(self, name: str, original: Tensor, numbers: Tensor, words: str) -> Fit | None:
        grid = self.grid(self.prefix + name)
        tried = None if grid is None else fit(original, numbers, grid)
        return replace(tried, words=f"{tried.words}, {words}") if tried is not None and not tried.beyond else None


def _is_undone(rows: Tensor, c: Tensor, d: Tensor) -> bool:
    """Whether most rows of one matrix are scaled, and each column of the next, c in d, by the inverse of its own."""
    factors = (c * d).sum(0) / c.square().sum(0).clamp(min=1e-300)
    left = (d - c * factors).norm(dim=0) / d.norm(dim=0).clamp(min=1e-300)
    return bool(rows.log().abs().median() > LEAST) and bool(((factors * rows - 1).abs() < NEAR + left).all())


def _is_beyond(change: TensorChange) -> bool:
    return change.fit is not None and bool(change.fit.beyond)


def _is_source(name: str, change: TensorChange) -> bool:
    return name.removesuffix(".weight") in OF_ROWS and _is_beyond(change)
