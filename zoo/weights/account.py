"""What becomes of every tensor of a checkpoint: the account that is settled before any data is read. Needs no torch."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from zoo.anatomy.records import Shape
from zoo.errors import some
from zoo.files.tensor_info import TensorInfo
from zoo.weights.entries import Witness
from zoo.weights.packing import unpacks
from zoo.weights.table import Step, Table, foreign_shapes

NOT_FLOATS = frozenset("bool uint8 int8 int16 uint16 int32 uint32 int64 uint64 complex64".split())


@dataclass
class Account:
    """Every foreign tensor in exactly one column; the last three are problems. Names are as the files spell them."""

    steps: list[Step] = field(default_factory=list)  # in the table's spelling
    actual: dict[str, str] = field(default_factory=dict)  # the table's spelling -> the file's
    loaded: list[str] = field(default_factory=list)
    tied: dict[str, str] = field(default_factory=dict)  # a second copy -> what it must equal
    ignored: dict[str, str] = field(default_factory=dict)  # name -> reason
    witnesses: dict[str, Witness] = field(default_factory=dict)  # of the ignored: what they must hold all the same
    missing: dict[str, Shape] = field(default_factory=dict)
    unexpected: dict[str, Shape] = field(default_factory=dict)
    mismatched: dict[str, str] = field(default_factory=dict)  # name -> what was found and what expected
    orphans: list[str] = field(default_factory=list)  # weights of ours that the table does not know: a plugin's bug
    random: dict[str, str] = field(
        default_factory=dict
    )  # weights of ours that nothing gives -> the pattern that let it
    dropped: dict[str, str] = field(default_factory=dict)  # of the ignored: those that only a pattern let go
    unheld: list[str] = field(default_factory=list)  # of the ignored: those whose witness a pattern sent away
    zeros: list[str] = field(default_factory=list)  # of the ignored: those that must be all 0

    @property
    def is_settled(self) -> bool:
        """Whether nothing is missing, unexpected or mismatched."""
        return not (self.missing or self.unexpected or self.mismatched or self.orphans)

    @property
    def fit(self) -> float:
        """Share of tensors, theirs and the missing ones together, that found their place."""
        good = len(self.loaded) + len(self.tied) + len(self.ignored)
        bad = len(self.missing) + len(self.unexpected) + len(self.mismatched) + len(self.orphans)
        return good / (good + bad) if good + bad else 1.0

    def allow(self, patterns: Iterable[str]) -> None:
        """Move unexpected tensors that match a pattern (of shell style) to the ignored, and drop missing ones.

        What unpacks other tensors, such as a scale, stays where it is: without it those would be other numbers.
        """
        for pattern in patterns:
            self.unheld += [n for n in self.witnesses if _matches(n, pattern)]
            self.witnesses = {n: w for n, w in self.witnesses.items() if not _matches(n, pattern)}
            for name in [n for n in self.unexpected if _matches(n, pattern) and not unpacks(n)]:
                del self.unexpected[name]
                self._drop({name: f"allowed by {pattern!r}"})
            for name in [n for n in self.missing if _matches(n, pattern)]:
                del self.missing[name]
                self._drop_steps_with(name, pattern)

    def _drop(self, reasons: Mapping[str, str]) -> None:
        self.ignored |= reasons
        self.dropped |= reasons

    def _drop_steps_with(self, name: str, pattern: str) -> None:
        """Leave out the steps that need the tensor `name`; what else they would have read is then of no use."""
        dropped = [s for s in self.steps if name in s.theirs]
        self.steps = [s for s in self.steps if name not in s.theirs]
        self.random |= {ours: pattern for step in dropped for ours in step.ours}
        needed = {self.actual.get(n) for s in self.steps for n in s.theirs}
        useless = {self.actual[n] for s in dropped for n in s.theirs if n in self.actual} - needed
        self._drop({n: f"belongs to {name}, allowed by {pattern!r}" for n in self.loaded if n in useless})
        self.loaded = [n for n in self.loaded if n not in useless]

    def summary(self) -> str:
        """47: 46 loaded · 1 tied (lm_head ← embed_tokens) · 0 missing · 0 unexpected"""
        total = len(self.loaded) + len(self.tied) + len(self.ignored) + len(self.unexpected) + len(self.mismatched)
        tied = f" ({', '.join(f'{a} ← {b}' for a, b in list(self.tied.items())[:2])})" if self.tied else ""
        reasons = Counter(self.ignored.values())
        ignored = f" · {len(self.ignored)} ignored ({'; '.join(reasons)})" if self.ignored else ""
        mismatched = f" · {len(self.mismatched)} mismatched" if self.mismatched else ""
        random = f" · {len(self.random)} RANDOM ({some(grouped(self.random))})" if self.random else ""
        return (
            f"{total}: {len(self.loaded)} loaded · {len(self.tied)} tied{tied}{ignored}{random}"
            f" · {len(self.missing)} missing · {len(self.unexpected)} unexpected{mismatched}"
        )

    def problems(self) -> list[tuple[str, str, str]]:
        """(kind, grouped name, shape or difference) of everything that has no place."""
        rows: list[tuple[str, str, str]] = []
        for kind, names in (("missing", self.missing), ("unexpected", self.unexpected)):
            by_shape: dict[Shape, list[str]] = defaultdict(list)
            for name, shape in names.items():
                by_shape[shape].append(name)
            rows += [(kind, g, str(list(shape))) for shape, group in by_shape.items() for g in grouped(group)]
        by_what: dict[str, list[str]] = defaultdict(list)
        for name, what in self.mismatched.items():
            by_what[what].append(name)
        rows += [("mismatched", g, what) for what, group in by_what.items() for g in grouped(group)]
        return rows + [("no rule for", g, "") for g in grouped(self.orphans)]

    def to_dict(self) -> dict[str, Any]:
        return {
            "loaded": len(self.loaded),
            "tied": self.tied,
            "ignored": self.ignored,
            "missing": {n: list(s) for n, s in self.missing.items()},
            "unexpected": {n: list(s) for n, s in self.unexpected.items()},
            "mismatched": self.mismatched,
        }


def settle(
    table: Table, shapes: Mapping[str, Shape], tensors: Mapping[str, TensorInfo], *, spare: Collection[str] = ()
) -> Account:
    """Give every foreign tensor its column: `shapes` are our weights', `tensors` what the files' headers say.

    Those of `spare` that nothing needs are left out, and must be all 0.
    """
    account = Account()
    for name in tensors:
        spelt = table.spelling(name) if table.spelling else name
        if spelt in account.actual:
            account.mismatched[name] = f"a second {account.actual[spelt]}"
        else:
            account.actual[spelt] = name
    doubles = {a.theirs: a.of for a in table.aliases}
    for copy, of in doubles.items():
        if of not in account.actual and copy in account.actual:
            account.actual[of] = account.actual[copy]  # the file kept the other one of the two
    account.steps, account.orphans = table.plan(shapes, account.actual)
    placed: set[str] = set()
    for step in account.steps:
        for name, shape in foreign_shapes(step, shapes).items():
            _place(account, name, shape, tensors, placed)
    for spelt, name in account.actual.items():
        if name not in placed:
            _place_unwanted(account, table, doubles, spelt, tensors)
    for name in [name for name in account.unexpected if name in spare]:
        del account.unexpected[name]
        account.ignored[name] = "a bias of 0 that the packing tool wrote"
        account.zeros.append(name)
    return account


def _place(account: Account, name: str, shape: Shape, tensors: Mapping[str, TensorInfo], placed: set[str]) -> None:
    if name not in account.actual:
        account.missing[name] = shape
        return
    actual = account.actual[name]
    info = tensors[actual]
    if info.shape != shape:
        account.mismatched[actual] = f"{list(info.shape)} in {info.file.name}, expected {list(shape)}"
    elif info.dtype in NOT_FLOATS:
        account.mismatched[actual] = f"{info.dtype} in {info.file.name}, expected floating point"
    elif actual not in placed:
        account.loaded.append(actual)
    placed.add(actual)


def _place_unwanted(
    account: Account, table: Table, doubles: Mapping[str, str], spelt: str, tensors: Mapping[str, TensorInfo]
) -> None:
    info = tensors[account.actual[spelt]]
    of = account.actual.get(doubles[spelt]) if spelt in doubles else None
    if of is not None and tensors[of].shape != info.shape:
        expected = f"expected {list(tensors[of].shape)} like {of}"
        account.mismatched[info.name] = f"{list(info.shape)} in {info.file.name}, {expected}"
    elif of is not None:
        account.tied[info.name] = of
    elif entry := table.ignoring(spelt):
        account.ignored[info.name] = entry.reason
        if entry.witness:
            account.witnesses[info.name] = entry.witness
    else:
        account.unexpected[info.name] = info.shape


def grouped(names: Iterable[str]) -> list[str]:
    """Names that differ in one run of numbers only, written once: layers.{0..31}.x"""
    groups: dict[str, list[int]] = defaultdict(list)
    for name in names:
        found = re.search(r"(?<=\.)\d+(?=\.|$)", name)
        groups[name if not found else f"{name[: found.start()]}\0{name[found.end() :]}"].append(
            int(found.group()) if found else -1
        )
    return [template.replace("\0", _runs(sorted(numbers))) for template, numbers in groups.items()]


def _runs(numbers: list[int]) -> str:
    if len(numbers) == 1:
        return str(numbers[0])
    runs: list[list[int]] = []
    for n in numbers:
        if runs and n == runs[-1][1] + 1:
            runs[-1][1] = n
        else:
            runs.append([n, n])
    return "{" + ",".join(str(a) if a == b else f"{a}..{b}" for a, b in runs) + "}"


def _matches(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern)
