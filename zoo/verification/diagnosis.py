"""Why two models part: the known mistakes, tried one at a time on the failing one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace

from torch import Tensor, nn

from zoo.errors import ZooError
from zoo.progress import progress
from zoo.verification.divergence import Divergence, first_divergence, largest_gap
from zoo.verification.mistakes.catalogue import repairs
from zoo.verification.mistakes.repair import Case, Repair
from zoo.verification.recording import Event, Side, layer_of, leaves, stacks
from zoo.weights.account import grouped

MAX_MISTAKES = 8  # of different kinds or places, one after the other
# A mistake's first trace is no smaller than this part of what it leads to: below are rounding's, which stand before it.
FIRST_SHARE = 1e-6
# A repair explains what it takes away. The rest is rounding, or other mistakes, which are looked for next.
LEFT_SHARE = 1e-3


@dataclass(frozen=True)
class Explanation:
    """A mistake whose repair takes a difference away, by three orders of magnitude at least."""

    mistake: str
    where: tuple[str, ...]  # the modules that make it
    says: str
    advice: str

    def __str__(self) -> str:
        where = ", ".join(grouped(filter(None, self.where))) or "the model itself"
        return f"{self.mistake} in {where}: {self.says}. Fix: {self.advice}"


@dataclass
class Diagnosis:
    """A failing model, what it is held to, and how far they may differ."""

    model: nn.Module
    ours: Side
    theirs: Side
    limit: float

    def __post_init__(self) -> None:
        self.layers = [name for name in stacks(self.model) if name in self.ours.views]
        self.outside = [name for name in leaves(self.model) if layer_of(name, self.layers) is None]
        self._references: dict[str | None, dict[Event, Tensor]] = {}
        self._bar = self.limit  # what counts as a first divergence, the same before a repair and after it
        self.left: Divergence | None = None  # what no known mistake explains

    def first(self, part: str | None = None) -> Divergence | None:
        """Where they part: layer by layer, or up to the end of the layer `part` module by module.

        Where the outputs of the whole agree nothing is amiss, whatever a module that was taken for another's gives.
        """
        mine, theirs = self._events(part)
        if part is None and (apart := _outputs_gap(mine, theirs)) is not None and apart <= self.limit:
            return None
        return first_divergence(mine, theirs, self._bar)

    def worst(self, part: str | None = None) -> float:
        """The largest difference in a part, or anywhere; 0 where the outputs of the whole agree."""
        mine, theirs = self._events(part)
        apart = None if part is not None else _outputs_gap(mine, theirs)
        return 0.0 if apart is not None and apart <= self.limit else largest_gap(mine, theirs)

    def _events(self, part: str | None) -> tuple[dict[Event, Tensor], dict[Event, Tensor]]:
        """What both sides do, up to the end of a layer or, layers as a whole, up to the outputs."""
        names = dict.fromkeys([*self.outside, *self.layers, *self._inside(part)])
        if part not in self._references:  # all of a large model's events would not fit
            self._references = {p: e for p, e in self._references.items() if p is None}
            self._references[part] = self.theirs.record(names, until=part)
        return self.ours.record(names, until=part), self._references[part]

    def locate(self) -> Divergence | None:
        """The first divergence, module by module."""
        apart = _outputs_gap(*self._events(None)) or 0.0
        self._bar = max(self.limit, FIRST_SHARE * min(apart, 1.0))
        found = self.first()
        if found is None:
            return None
        part = self._part(found)
        return found if part is None else self._within(part) or found

    def _within(self, part: str) -> Divergence | None:
        """The first divergence in a layer whose input agrees: what enters a module of it was made in it."""
        found = self.first(part)
        is_inside = found is not None and not found.place and found.event[0].startswith(f"{part}.")
        return replace(found, place=part) if found is not None and is_inside else found

    def diagnose(self) -> list[Explanation]:
        """Mistakes that together explain the difference, or all that were found on the way; empty if none was."""
        found: list[Explanation] = []
        with ExitStack() as kept:
            while len(found) < MAX_MISTAKES and (divergence := self.locate()) is not None:
                known = {(e.mistake, where) for e in found for where in e.where}
                repair = self._repair(divergence, known)
                if repair is None:
                    break
                where = self._everywhere(repair, kept)
                found.append(Explanation(repair.mistake, where, repair.says, repair.advice))
            self.left = self.locate()
        return found

    def _repair(self, divergence: Divergence, known: set[tuple[str, str]]) -> Repair | None:
        """The repair after which the part where they differ agrees, or else that which mends the most of it."""
        part = self._part(divergence)
        near = divergence.place or divergence.event[0]
        candidates = [r for r in self._candidates(part) if (r.mistake, r.where) not in known]
        candidates.sort(key=lambda r: not (r.where and near.startswith(r.where)))
        best, least = None, LEFT_SHARE * self.worst(part)
        with progress(f"diagnose {part or 'what is outside of layers'}", len(candidates), "mistakes") as advance:
            for repair in candidates:
                with repair.edit():
                    left, after = self._tried(part)
                if left <= self.limit or (after and _is_later(after, divergence, list(self._references[None]))):
                    return repair
                if left < least:
                    best, least = repair, left
                advance(1)
        return best

    def _tried(self, part: str | None) -> tuple[float, Divergence | None]:
        """What a repair leaves of the difference, and, outside of layers, where the rest begins."""
        try:
            return self.worst(part), self.first() if part is None else None
        except (RuntimeError, TypeError, ValueError, ZooError):  # a layer of another kind than the repair is for
            return math.inf, None

    def _everywhere(self, repair: Repair, kept: ExitStack) -> tuple[str, ...]:
        """Keep the repair and, if more is wrong, the same in other layers: in all if that mends them, or by turns."""
        kept.enter_context(repair.edit())
        where, part = [repair.where], layer_of(repair.where, self.layers)
        least = max(self.limit, LEFT_SHARE * self.worst())
        if (left := self.first()) is None or part is None:
            return (repair.where,)
        twins = {layer: twin for layer in self.layers if layer != part and (twin := self._twin(repair, part, layer))}
        with ExitStack() as more:
            for twin in twins.values():
                more.enter_context(twin.edit())
            after = self.first()
            if twins and (self.worst() <= least or after is None or self._part(after) is None):
                kept.enter_context(more.pop_all())
                return (*where, *(twin.where for twin in twins.values()))
        while left is not None and (here := twins.pop(self._part(left) or "", None)) is not None:
            with ExitStack() as one:
                one.enter_context(here.edit())
                after = self.first()
                if after is not None and not _is_later(after, left, list(self._references[None])):
                    break
                kept.enter_context(one.pop_all())
            where, left = [*where, here.where], after
        return tuple(where)

    def _twin(self, repair: Repair, part: str, layer: str) -> Repair | None:
        """The same repair in another layer."""
        same = (repair.mistake, repair.kind, repair.where.removeprefix(part))
        found = (t for t in self._candidates(layer) if (t.mistake, t.kind, t.where.removeprefix(layer)) == same)
        return next(found, None)

    def _candidates(self, part: str | None) -> Iterator[Repair]:
        modules = {
            name: module
            for name, module in self.model.named_modules(remove_duplicate=False)
            if (layer_of(name, self.layers) == part if part else layer_of(name, self.layers) is None)
        }
        return repairs(Case(modules, self.model.config, self.theirs.weight))

    def _inside(self, part: str | None) -> list[str]:
        return [] if part is None else [name for name in leaves(self.model) if layer_of(name, self.layers) == part]

    def _part(self, divergence: Divergence) -> str | None:
        """The layer to blame; None: what lies outside of layers."""
        if divergence.event[1] == "output":
            return None
        if divergence.place == "" and divergence.event[1] == "in":
            return None
        return layer_of(divergence.place or divergence.event[0], self.layers)


def _outputs_gap(ours: dict[Event, Tensor], theirs: dict[Event, Tensor]) -> float | None:
    """How far the outputs of the whole are apart; None where none is there to be held to another."""
    outputs = {event: x for event, x in ours.items() if event[1] == "output"}
    return largest_gap(outputs, theirs) if outputs else None


def _is_later(after: Divergence, before: Divergence, order: list[tuple[str, str]]) -> bool:
    """Whether a repair outside of layers has moved the divergence into a later part."""
    return after.event != before.event and order.index(after.event) > order.index(before.event)
