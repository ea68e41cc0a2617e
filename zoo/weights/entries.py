"""The entries of a table: rules that rename or compute, tensors that are ignored, copies; and how families write them.

A template is a dotted name in which `{i}` stands for a layer's number. It matches a name, or everything below a
module: `rename("attn", "self_attn")` covers every parameter inside. Needs no torch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

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
        """Whether the names that it matches may hang on a number: a digit is in a template."""
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
    filler: tuple[int, ...] | None = None  # the shape of zeros that are written in its place, where readers want some

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        return _compile(self.theirs)


@dataclass(frozen=True)
class Alias:
    """A foreign tensor that may be stored a second time under this name; if it is, it must be equal to `of`."""

    theirs: str
    of: str


Entry = Rule | Ignore | Alias


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


def filler(theirs: str, shape: tuple[int, ...], reason: str) -> Ignore:
    """A foreign tensor that is left out when reading, and written as zeros, for another reader wants it there."""
    return Ignore(theirs, reason, filler=shape)


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


def _tuple(x: str | tuple[str, ...]) -> tuple[str, ...]:
    return (x,) if isinstance(x, str) else x


def _compile(template: str) -> re.Pattern[str]:
    body = re.sub(r"\\{(\w+)\\}", r"(?P<\1>\\d+)", re.escape(template))
    return re.compile(body + r"(?P<below>(\..+)?)")
