"""Why two models part: the known mistakes, tried one at a time on the failing one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from torch import Tensor, nn

from zoo.progress import progress
from zoo.verification.divergence import Divergence, first_divergence
from zoo.verification.mistakes import repairs
from zoo.verification.recording import Event, Side, layer_of, leaves, stacks
from zoo.verification.repair import Case, Repair
from zoo.weights.ledger import grouped

MAX_MISTAKES = 8  # of different kinds or places, one after the other


@dataclass(frozen=True)
class Explanation:
    """A mistake whose repair makes a difference vanish."""

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

    def first(self, part: str | None = None) -> Divergence | None:
        """Where they part: layer by layer, or up to the end of the layer `part` module by module.

        Where the outputs of the whole agree nothing is amiss, whatever a module that was taken for another's gives.
        """
        names = dict.fromkeys([*self.outside, *self.layers, *self._inside(part)])
        if part not in self._references:  # all of a large model's events would not fit
            self._references = {p: e for p, e in self._references.items() if p is None}
            self._references[part] = self.theirs.record(names, until=part)
        mine, theirs = self.ours.record(names, until=part), self._references[part]
        outputs = {event: x for event, x in mine.items() if event[1] == "output"}
        if part is None and outputs and first_divergence(outputs, theirs, self.limit) is None:
            return None
        return first_divergence(mine, theirs, self.limit)

    def locate(self) -> Divergence | None:
        """The first divergence, module by module."""
        found = self.first()
        if found is None:
            return None
        part = self._part(found)
        return found if part is None else self.first(part) or found

    def diagnose(self) -> list[Explanation]:
        """Mistakes that together explain the difference, or all that were found on the way; empty if none was."""
        found: list[Explanation] = []
        with ExitStack() as kept:
            while len(found) < MAX_MISTAKES and (divergence := self.locate()) is not None:
                repair = self._repair(divergence)
                if repair is None:
                    break
                where = self._everywhere(repair, kept)
                found.append(Explanation(repair.mistake, where, repair.says, repair.advice))
            self.left = self.locate()  # what no known mistake explains
        return found

    def _repair(self, divergence: Divergence) -> Repair | None:
        """The first repair within the part where they differ after which the part agrees."""
        part = self._part(divergence)
        near = divergence.place or divergence.event[0]
        candidates = sorted(self._candidates(part), key=lambda r: not (r.where and near.startswith(r.where)))
        with progress(f"diagnose {part or 'what is outside of layers'}", len(candidates), "mistakes") as advance:
            for repair in candidates:
                with repair.edit():
                    after = self.first(part)
                if after is None or (part is None and _is_later(after, divergence, list(self._references[None]))):
                    return repair
                advance(1)
        return None

    def _everywhere(self, repair: Repair, kept: ExitStack) -> tuple[str, ...]:
        """Keep the repair, and, if more is wrong, the same in all other layers if that leaves nothing wrong."""
        kept.enter_context(repair.edit())
        if self.first() is None:
            return (repair.where,)
        part = layer_of(repair.where, self.layers)
        twins = [
            twin
            for layer in self.layers
            if layer != part and part is not None
            for twin in self._candidates(layer)
            if (twin.mistake, twin.kind) == (repair.mistake, repair.kind) and _leaf(twin, layer) == _leaf(repair, part)
        ]
        with ExitStack() as more:
            for twin in twins:
                more.enter_context(twin.edit())
            if twins and self.first() is None:
                kept.enter_context(more.pop_all())
                return (repair.where, *(twin.where for twin in twins))
        return (repair.where,)

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


def _leaf(repair: Repair, part: str) -> str:
    return repair.where.removeprefix(part)


def _is_later(after: Divergence, before: Divergence, order: list[tuple[str, str]]) -> bool:
    """Whether a repair outside of layers has moved the divergence into a later part."""
    return after.event != before.event and order.index(after.event) > order.index(before.event)
