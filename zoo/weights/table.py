"""A table that names each of our tensors after the foreign ones it comes from, read in both directions.

A template is a dotted name in which `{i}` stands for a layer's number. It matches a name, or everything below a
module: `rename("attn", "self_attn")` covers every parameter inside. Rules are tried from top to bottom and the first
that matches one of our names owns it. Needs no torch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

from zoo.anatomy.records import Shape
from zoo.weights.ops import Op, same

Spelling = Callable[[str], str]  # a foreign name as some file spells it -> as the table does
Witness = Callable[[], Sequence[Sequence[float]]]  # the values of which a tensor must hold one set


@dataclass(frozen=True)
class Rule:
    """`ours` is `op` applied to `theirs`. Of the rules with the same `ours` the first whose tensors exist is used."""

    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    op: Op = same
    over: tuple[tuple[str, int], ...] = ()  # indices that exist on their side only, and how far they run

    @cached_property
    def patterns(self) -> list[re.Pattern[str]]:
        return [_compile(template) for template in self.ours]

    @cached_property
    def is_of_one(self) -> bool:
        """Whether the names that it matches may hang on a number: a digit stands in a template."""
        return any(any(map(str.isdigit, template)) for template in self.ours)

    def bind(self, name: str) -> dict[str, str] | None:
        """The indices, and the part below the template, with which this rule yields `name`."""
        for pattern in self.patterns:
            if found := pattern.fullmatch(name):
                return found.groupdict()
        return None

    def our_names(self, binding: Mapping[str, str]) -> tuple[str, ...]:
        return tuple(t.format(**binding) + binding["below"] for t in self.ours)

    def their_names(self, binding: Mapping[str, str]) -> tuple[str, ...]:
        keys = [key for key, _ in self.over]
        picks = product(*(range(end) for _, end in self.over))
        chosen = [dict(zip(keys, pick, strict=True)) for pick in picks]
        return tuple(t.format(**binding, **pick) + binding["below"] for t in self.theirs for pick in chosen)


@dataclass(frozen=True)
class Ignore:
    """Foreign tensors that carry nothing we need, and why."""

    theirs: str
    reason: str
    witness: Witness | None = None  # what it must hold all the same, for it says what the config says

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        return _compile(self.theirs)


@dataclass(frozen=True)
class Alias:
    """A foreign tensor that may be stored a second time under this name; if it is, it must be equal to `of`."""

    theirs: str
    of: str


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


Entry = Rule | Ignore | Alias
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

    def ignoring(self, name: str) -> Ignore | None:
        """Why the foreign tensor `name` is of no use, or None where it is."""
        return next((i for i in self.ignored if i.pattern.fullmatch(name)), None)


class Identity(Table):
    """The table of zoo's own format, in which every tensor goes by our name."""

    def plan(self, ours: Iterable[str], present: Iterable[str] | None = None) -> tuple[list[Step], list[str]]:
        return [Step((name,), (name,), same) for name in ours], []


def rename(ours: str, theirs: str) -> Rule:
    """A tensor, or all tensors below a module, under another name."""
    return Rule((ours,), (theirs,))


def rule(ours: str | tuple[str, ...], theirs: str | tuple[str, ...], op: Op, **over: int) -> Rule:
    """`ours` is `op` applied to `theirs`; keyword arguments give the range of indices only they have."""
    return Rule(_tuple(ours), _tuple(theirs), op, tuple(over.items()))


def ignore(theirs: str, reason: str, *, witness: Witness | None = None) -> Ignore:
    """A foreign tensor, or all below a module, that is left out, with the reason the ledger prints.

    A `witness` gives the sets of values that it may hold; another is refused when the weights are read.
    """
    return Ignore(theirs, reason, witness)


def alias(theirs: str, of: str) -> Alias:
    """A second copy of a foreign tensor: absent, or equal to `of`."""
    return Alias(theirs, of)


def under(ours: str, theirs: str, *entries: Entry) -> list[Entry]:
    """Put every entry below a pair of prefixes."""

    def joined(prefix: str, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(f"{prefix}.{n}" if prefix else n for n in names)

    def moved(entry: Entry) -> Entry:
        if isinstance(entry, Rule):
            return replace(entry, ours=joined(ours, entry.ours), theirs=joined(theirs, entry.theirs))
        (name,) = joined(theirs, (entry.theirs,))
        if isinstance(entry, Alias):
            return Alias(name, joined(theirs, (entry.of,))[0])
        return replace(entry, theirs=name)

    return [moved(entry) for entry in entries]


def respell(*pairs: tuple[str, str]) -> Spelling:
    """A spelling that applies regular-expression substitutions in turn."""
    compiled = [(re.compile(pattern), by) for pattern, by in pairs]

    def spell(name: str) -> str:
        for pattern, by in compiled:
            name = pattern.sub(by, name)
        return name

    return spell


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


def _tuple(x: str | tuple[str, ...]) -> tuple[str, ...]:
    return (x,) if isinstance(x, str) else x


def _compile(template: str) -> re.Pattern[str]:
    body = re.sub(r"\\{(\w+)\\}", r"(?P<\1>\\d+)", re.escape(template))
    return re.compile(body + r"(?P<below>(\..+)?)")


def foreign_shapes(step: Step, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    """The shapes that the foreign tensors of a step must have for ours to have theirs."""
    found = step.op.shapes([shapes[name] for name in step.ours])
    return dict(zip(step.theirs, found, strict=True))
