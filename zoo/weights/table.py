"""A table that names each of our tensors after the foreign ones it comes from, read in both directions.

A template is a dotted name in which `{i}` stands for a layer's number. It matches a name, or everything below a
module: `rename("attn", "self_attn")` covers every parameter inside. Rules are tried from top to bottom and the first
that matches one of our names owns it. Needs no torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from zoo.anatomy.records import Shape
from zoo.weights.entries import Alias, Entry, Ignore, Rule, Spelling
from zoo.weights.ops import Op, same


@dataclass(frozen=True)
class Step:
    """One rule applied to one set of indices: the unit of streaming. Either side lists the names in the op's order."""

    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    op: Op

    def __str__(self) -> str:
        theirs = self.theirs if len(self.theirs) < 4 else (self.theirs[0], "…", self.theirs[-1])
        how = "" if self.op is same else f"   {self.op}"
        return f"{', '.join(self.ours)}  ←  {', '.join(theirs)}{how}"


_NUMBER = re.compile(r"[0-9]+")


@dataclass(frozen=True, init=False)
class Table:
    """Rules, what to ignore, what may stand twice, and how older files spell the foreign names."""

    rules: tuple[Rule, ...]
    ignored: tuple[Ignore, ...]
    aliases: tuple[Alias, ...]
    spelling: Spelling | None

    def __init__(self, *entries: Entry | Iterable[Entry], spelling: Spelling | None = None) -> None:
        flat = [e for entry in entries for e in ([entry] if isinstance(entry, Entry) else entry)]
        object.__setattr__(self, "rules", tuple(e for e in flat if isinstance(e, Rule)))
        object.__setattr__(self, "ignored", tuple(e for e in flat if isinstance(e, Ignore)))
        object.__setattr__(self, "aliases", tuple(e for e in flat if isinstance(e, Alias)))
        object.__setattr__(self, "spelling", spelling)

    def plan(self, ours: Iterable[str], present: Iterable[str] | None = None) -> tuple[list[Step], list[str]]:
        """The steps that yield our names, each exactly once, and the names that no rule yields.

        Where several rules yield a name, the first whose foreign tensors are all in `present` is taken, or, when
        there is none, the first, which is also what an export writes. A rule is no candidate where it would also yield
        a name that is not ours, or that another step yields already.
        """
        there = None if present is None else set(present)
        left = dict.fromkeys(ours)
        steps: list[Step] = []
        orphans: list[str] = []
        known: dict[str, list[Rule]] = {}  # the rules for names that differ in numbers only
        for name in list(left):
            if name not in left:
                continue
            if (kind := _NUMBER.sub("0", name)) not in known:
                known[kind] = [rule for rule in self.rules if rule.is_of_one or rule.bind(kind) is not None]
            step = _chosen((step for step in _steps(known[kind], name) if all(n in left for n in step.ours)), there)
            if step is None:
                orphans.append(name)
                continue
            steps.append(step)
            for done in step.ours:
                del left[done]
        return steps, orphans

    def every_step(self, ours: Iterable[str]) -> Iterator[Step]:
        """All steps that could yield our names, those between which `plan` chooses among them, each once."""
        names = dict.fromkeys(ours)
        known: dict[str, list[Rule]] = {}
        seen: set[tuple[tuple[str, ...], tuple[str, ...]]] = set()
        for name in names:
            if (kind := _NUMBER.sub("0", name)) not in known:
                known[kind] = [rule for rule in self.rules if rule.is_of_one or rule.bind(kind) is not None]
            for step in _steps(known[kind], name):
                if (step.ours, step.theirs) not in seen and all(n in names for n in step.ours):
                    seen.add((step.ours, step.theirs))
                    yield step

    def ignoring(self, name: str) -> Ignore | None:
        """Why the foreign tensor `name` is of no use, or None where it is."""
        return next((i for i in self.ignored if i.pattern.fullmatch(name)), None)


class Identity(Table):
    """The table of zoo's own format, in which every tensor goes by our name."""

    def plan(self, ours: Iterable[str], present: Iterable[str] | None = None) -> tuple[list[Step], list[str]]:
        return [Step((name,), (name,), same) for name in ours], []

    def every_step(self, ours: Iterable[str]) -> Iterator[Step]:
        return (Step((name,), (name,), same) for name in ours)


def _steps(rules: Iterable[Rule], name: str) -> Iterator[Step]:
    for rule in rules:
        if (binding := rule.bind(name)) is not None:
            yield Step(rule.our_names(binding), rule.their_names(binding), rule.op)


def _chosen(steps: Iterable[Step], there: set[str] | None) -> Step | None:
    """The first step whose foreign tensors are all there, else the first."""
    first = None
    for step in steps:
        if there is None or there.issuperset(step.theirs):
            return step
        first = first or step
    return first


def foreign_shapes(step: Step, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    """The shapes that the foreign tensors of a step must have for ours to have theirs."""
    found = step.op.shapes([shapes[name] for name in step.ours])
    return dict(zip(step.theirs, found, strict=True))
