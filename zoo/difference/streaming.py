"""Two checkpoints read side by side through their tables, as few tensors at a time as hang together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from zoo.anatomy.config import ModelConfig
from zoo.anatomy.records import Shape
from zoo.checkpoint.inspection import Ledger
from zoo.checkpoint.interpretation import differing
from zoo.difference.folding import unfolded
from zoo.difference.grid import Grid
from zoo.difference.record import ComparedWeights, TensorChange, WeightDifference
from zoo.difference.rounding import Fit, fit
from zoo.difference.side import WeightSource, coarser
from zoo.difference.tally import measure
from zoo.errors import UsageError
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
    return diff_sources(*(WeightSource.of(source, tuple(allow), allow_pickle) for source in (a, b)))


def diff_sources(one: WeightSource, other: WeightSource) -> WeightDifference:
    """`diff` of checkpoints whose headers are read already."""
    ours, theirs, families = one.shapes, other.shapes, (one.ledger.family.name, other.ledger.family.name)
    pairs = _pairs(one.ledger, other.ledger, ours, theirs)
    least = 1 if len({*families}) == 1 else min(len(ours), len(theirs)) / 2
    if len(pairs) < least:  # of two families a few weights match by accident: norm.weight, embed.weight
        alike = f"{len(pairs)} weights" if pairs else "no weight"
        what = f"{families[0]} and {families[1]} are not one kind: they share {alike} of one name and shape"
        raise UsageError(what, hint=f"to compare what they are: zoo compare {quote(one.name)} {quote(other.name)}")
    rows = {name: min(ours[name][0], theirs[name][0]) for name in pairs if ours[name] != theirs[name]}
    side = coarser(one, other)
    changes = tuple(_changes(one, other, pairs, rows))
    changes = unfolded(one, other, changes, side) if side else changes
    return WeightDifference(
        _side(one), _side(other), changes,
        {name: shape for name, shape in ours.items() if name not in theirs},
        {name: shape for name, shape in theirs.items() if name not in ours},
        {n: (ours[n], theirs[n]) for n in ours if n in theirs and ours[n] != theirs[n]},
        _settings(one.ledger.config, other.ledger.config),
        tuple(_notes(one, other, rows)), side,
    )  # fmt: skip


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


def _changes(
    one: WeightSource, other: WeightSource, pairs: Mapping[str, str], rows: Mapping[str, int]
) -> Iterator[TensorChange]:
    from zoo.checkpoint.checks import check_tied, check_witnesses

    told, side = progress(f"diff {one.name}", len(pairs), "tensors"), coarser(one, other)
    with one.ledger.checkpoint.open() as mine, other.ledger.checkpoint.open() as its, told as advance:
        for ledger, tensors in ((one.ledger, mine), (other.ledger, its)):
            check_tied(ledger, tensors)
            check_witnesses(ledger, tensors)
        for of_a, of_b in _together(one.ledger.account.steps, other.ledger.account.steps):
            left, right = one.read(mine, of_a, pairs), other.read(its, of_b, pairs)
            for name in [n for n in left if n in right]:
                a, b = left.pop(name), right.pop(name)
                if name in rows:
                    a, b = a[: rows[name]], b[: rows[name]]
                place = PLACE.match(name)
                where = (place["stack"], int(place["layer"])) if place else ("", None)
                kinds = (one.stored(of_a, name), other.stored(of_b, name))
                found = measure(a, b)
                fitted = None
                if side and found[1].numel and not found[1].not_finite:
                    fitted = _fitted(a, b, one.grid(of_a, name), other.grid(of_b, name), side)
                yield TensorChange(name, pairs[name], *where, tuple(a.shape), kinds, *found, fitted)
                advance(1)


def _fitted(a: Tensor, b: Tensor, of_a: Grid | None, of_b: Grid | None, side: str) -> Fit | None:
    """How the numbers of the rounded side lie about the other's; where both are floats, the coarser type counts."""
    if of_a is None or of_b is None:
        return None
    whole, rounded, grid = (a, b, of_b) if side == "B" else (b, a, of_a)
    other = of_a if side == "B" else of_b
    return fit(whole, rounded, other if grid.is_float and other.is_float and other.bits < grid.bits else grid)


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


def _settings(one: ModelConfig, other: ModelConfig) -> dict[str, tuple[Any, Any]]:
    """Fields that differ, beside those that say where a model is from."""
    if type(one) is not type(other):
        return {}
    about = {f"model.{f.name}" for f in fields(ModelConfig)} - {"model.family"}
    return {path: values for path, values in differing(one, other).items() if path not in about}


def _side(source: WeightSource) -> ComparedWeights:
    ledger = source.ledger
    return ComparedWeights(source.name, ledger.family.name, ledger.dialect, len(source.shapes), ledger.dtypes)


def _notes(one: WeightSource, other: WeightSource, rows: Mapping[str, int]) -> Iterator[str]:
    families = (one.ledger.family.name, other.ledger.family.name)
    if len({*families}) > 1:
        yield f"{families[0]} against {families[1]}: weights are paired by name and shape, whatever they do"
    for name, count in rows.items():
        yield f"{name} has another number of rows: the first {count:,} are compared"
    for mark, source in (("A", one), ("B", other)):
        ledger = source.ledger
        if "quantization_config" in ledger.checkpoint.config or any(not _is_plain(kind) for kind in ledger.dtypes):
            yield f"{mark} is quantised: its numbers are compared as they are once unpacked"
        if source.rounding is not None:
            yield f"{mark} is rounded once it is read: {source.rounding.words}"


def _is_plain(dtype: str) -> bool:
    return dtype.startswith(("float", "bfloat"))
