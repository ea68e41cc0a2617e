"""Two checkpoints read side by side through their tables, as few tensors at a time as hang together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.anatomy.config import ModelConfig
from zoo.anatomy.records import Shape
from zoo.checkpoint.inspection import Ledger, inspect
from zoo.checkpoint.interpretation import differing
from zoo.checkpoint.notes import tell
from zoo.comparison.subject import is_path, words_of
from zoo.difference.record import ComparedWeights, TensorChange, WeightDifference
from zoo.difference.tally import measure
from zoo.errors import UsageError, clean
from zoo.progress import progress
from zoo.weights.table import Step

if TYPE_CHECKING:
    from torch import Tensor

PLACE = re.compile(r"(?P<stack>.*?)\.(?P<layer>\d+)\.")
BY_ROWS = ("embedding", "head")  # whose rows are tokens: more of them were added behind the others


def diff(a: str | Path, b: str | Path, *, allow: Iterable[str] = (), allow_pickle: bool = False) -> WeightDifference:
    """The weights of checkpoint `b` against those of `a`, of any formats: `diff("./base", "./tuned")`.

    Each is what `inspect` reads; family and overrides may stand behind it ("./x family=llama"). Weights are paired by
    zoo's names, after each side's own table has undone its layout. Raises CheckpointError for what is no whole
    checkpoint, UsageError where the two do not have weights of the same names and shapes.
    """
    one, other = (_ledger(source, tuple(allow), allow_pickle) for source in (a, b))
    ours, theirs = _shapes(one), _shapes(other)
    pairs = _pairs(one, other, ours, theirs)
    least = 1 if one.family.name == other.family.name else min(len(ours), len(theirs)) / 2
    if len(pairs) < least:  # of two families a few weights match by accident: norm.weight, embed.weight
        alike = f"{len(pairs)} weights" if pairs else "no weight"
        what = f"{one.family.name} and {other.family.name} are not one kind: they share {alike} of one name and shape"
        raise UsageError(what, hint=f"to compare what they are: zoo compare {_quoted(a)} {_quoted(b)}")
    rows = {name: min(ours[name][0], theirs[name][0]) for name in pairs if ours[name] != theirs[name]}
    changes = tuple(_changes(one, other, pairs, rows))
    return WeightDifference(
        _side(a, one), _side(b, other), changes,
        {name: shape for name, shape in ours.items() if name not in theirs},
        {name: shape for name, shape in theirs.items() if name not in ours},
        {n: (ours[n], theirs[n]) for n in ours if n in theirs and ours[n] != theirs[n]},
        _settings(one.config, other.config),
        tuple(_notes(one, other, rows)),
    )  # fmt: skip


def _ledger(source: str | Path, allow: tuple[str, ...], allow_pickle: bool) -> Ledger:
    words = [str(source)] if isinstance(source, Path) or is_path(source) else words_of(source)
    families = [word.removeprefix("family=") for word in words[1:] if word.startswith("family=")]
    overrides = [word for word in words[1:] if not word.startswith("family=")]
    family = families[0] if families else None
    ledger = inspect(words[0], *overrides, family=family, allow=allow, allow_pickle=allow_pickle)
    ledger.check()
    tell(ledger)
    return ledger


def _shapes(ledger: Ledger) -> dict[str, Shape]:
    """Our weights that the files hold, in the order of the table."""
    return {name: ledger.shapes[name] for step in ledger.account.steps for name in step.ours}


def _pairs(one: Ledger, other: Ledger, ours: Mapping[str, Shape], theirs: Mapping[str, Shape]) -> dict[str, str]:
    """The weights of one name and shape, and their roles; of a matrix of tokens the rows that both have."""
    roles = {**_roles(other.config), **_roles(one.config)}
    found = {}
    for name, shape in ours.items():
        role = roles.get(name, "other")
        other_shape = theirs.get(name)
        has_rows = bool(shape) and role in BY_ROWS and other_shape is not None and shape[1:] == other_shape[1:]
        if shape == other_shape or has_rows:
            found[name] = role
    return found


def _roles(config: ModelConfig) -> dict[str, str]:
    if type(config).anatomy is ModelConfig.anatomy:
        return {}
    return {name: weight.role for weight in config.anatomy().weights for name in weight.names()}


def _changes(one: Ledger, other: Ledger, pairs: Mapping[str, str], rows: Mapping[str, int]) -> Iterator[TensorChange]:
    from zoo.checkpoint.checks import check_tied, check_witnesses

    told = progress(f"diff {one.source}", len(pairs), "tensors")
    with one.checkpoint.open() as mine, other.checkpoint.open() as its, told as advance:
        for ledger, tensors in ((one, mine), (other, its)):
            check_tied(ledger, tensors)
            check_witnesses(ledger, tensors)
        for of_a, of_b in _together(one.account.steps, other.account.steps):
            left, right = _read(one, mine, of_a, pairs), _read(other, its, of_b, pairs)
            for name in [n for n in left if n in right]:
                a, b = left.pop(name), right.pop(name)
                if name in rows:
                    a, b = a[: rows[name]], b[: rows[name]]
                place = PLACE.match(name)
                where = (place["stack"], int(place["layer"])) if place else ("", None)
                kinds = (_stored(one, of_a, name), _stored(other, of_b, name))
                yield TensorChange(name, pairs[name], *where, tuple(a.shape), kinds, *measure(a, b))
                advance(1)


def _together(one: Iterable[Step], other: Iterable[Step]) -> Iterator[tuple[list[Step], list[Step]]]:
    """Steps of both sides that share weights, directly or by others: what must be in memory at a time."""
    sides = ([*one], [*other])
    owners = [{name: i for i, step in enumerate(steps) for name in step.ours} for steps in sides]
    seen: tuple[set[int], set[int]] = (set(), set())
    for first in range(len(sides[0])):
        if first in seen[0]:
            continue
        found: tuple[list[int], list[int]] = ([first], [])
        seen[0].add(first)
        queue = [(0, first)]
        while queue:
            side, number = queue.pop()
            for name in sides[side][number].ours:
                across = owners[1 - side].get(name)
                if across is not None and across not in seen[1 - side]:
                    seen[1 - side].add(across)
                    found[1 - side].append(across)
                    queue.append((1 - side, across))
        yield [sides[0][i] for i in found[0]], [sides[1][i] for i in found[1]]


def _read(
    ledger: Ledger, tensors: Mapping[str, Tensor], steps: Iterable[Step], asked: Mapping[str, str]
) -> dict[str, Tensor]:
    """Our weights that some steps yield; steps that yield none which is compared are not read."""
    found: dict[str, Tensor] = {}
    for step in steps:
        if any(name in asked for name in step.ours):
            theirs = [tensors[ledger.account.actual[name]] for name in step.theirs]
            found |= zip(step.ours, step.op.load(theirs), strict=True)
    return {name: tensor for name, tensor in found.items() if name in asked}


def _stored(ledger: Ledger, steps: Iterable[Step], name: str) -> str:
    """The dtypes of the files' tensors that a weight is made of."""
    infos, actual = ledger.checkpoint.tensors, ledger.account.actual
    kinds = {infos[actual[n]].dtype for step in steps if name in step.ours for n in step.theirs}
    return "+".join(sorted(kinds))


def _settings(one: ModelConfig, other: ModelConfig) -> dict[str, tuple[Any, Any]]:
    """Fields that differ, beside those that say where a model is from."""
    if type(one) is not type(other):
        return {}
    about = {f"model.{f.name}" for f in fields(ModelConfig)} - {"model.family"}
    return {path: values for path, values in differing(one, other).items() if path not in about}


def _side(source: str | Path, ledger: Ledger) -> ComparedWeights:
    count = sum(len(step.ours) for step in ledger.account.steps)
    return ComparedWeights(clean(source, 60), ledger.family.name, ledger.dialect, count, ledger.dtypes)


def _notes(one: Ledger, other: Ledger, rows: Mapping[str, int]) -> Iterator[str]:
    if one.family.name != other.family.name:
        yield f"{one.family.name} against {other.family.name}: weights are paired by name and shape, whatever they do"
    for name, count in rows.items():
        yield f"{name} has another number of rows: the first {count:,} are compared"
    for mark, ledger in (("A", one), ("B", other)):
        if "quantization_config" in ledger.checkpoint.config or any(not _is_plain(kind) for kind in ledger.dtypes):
            yield f"{mark} is quantised: its numbers are compared as they are once unpacked"


def _is_plain(dtype: str) -> bool:
    return dtype.startswith(("float", "bfloat"))


def _quoted(source: str | Path) -> str:
    from shlex import quote

    return quote(clean(source, 200))
