"""Overrides under which a refused checkpoint settles, each tried before it is told.

A repair is a key of the config with another value: a switch turned over, a size that the files have, more layers where
there are tensors for them. The whole config is read again with it, so that fields that hang on one another change
together, and what comes out is spelt as overrides. Where two different models would settle, neither is offered.
"""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from zoo.anatomy.config import ModelConfig
from zoo.anatomy.records import Shape
from zoo.checkpoint.detection import Interpreted, reading_of
from zoo.checkpoint.interpretation import LAYERS, differing, overridden
from zoo.errors import ZooError, some
from zoo.files.checkpoint import Checkpoint
from zoo.weights.account import Account, grouped
from zoo.weights.foreign.config import ForeignConfig
from zoo.weights.foreign.inert import INERT
from zoo.weights.table import foreign_shapes

MOST_TENSORS = 20_000  # beyond, trying takes longer than a refusal should
Path = tuple[str, ...]


@dataclass(frozen=True)
class Remedy:
    """What to type, what in the config it amounts to, and which tensors the model then does without."""

    overrides: tuple[str, ...]
    key: str
    value: Any
    without: tuple[str, ...]

    def __str__(self) -> str:
        """What to type, or, where one override alone would be another model, what to write into the config."""
        as_if = f"{self.key}: {json.dumps(self.value)}"
        does = "  tried: every tensor matches "
        does += (
            f"if the config says {as_if}:  {shlex.quote(self.overrides[0])}"
            if len(self.overrides) == 1
            else f"if the config says {as_if}; other values depend on it, so change it in the config"
        )
        if not self.without:
            return does
        lost = f"right if the model never had {some(grouped(self.without))}, wrong if it is missing from the files"
        return f"{does}\n  {lost}"


def repair_of(
    checkpoint: Checkpoint,
    refused: Interpreted,
    shapes: Mapping[str, Shape],
    *,
    allow: tuple[str, ...] = (),
    overrides: tuple[str, ...] = (),
) -> Remedy | None:
    """The one repair under which the `refused` reading settles; None where there is none, or more than one."""
    if len(checkpoint.tensors) > MOST_TENSORS:
        return None
    found: list[tuple[ModelConfig, Remedy]] = []
    for path, value in _candidates(checkpoint, refused, shapes):
        changed = replace(checkpoint, config=_with(checkpoint.config, path, value))
        other = reading_of(refused.family, changed, allow, overrides)
        if other is None or not other.account.is_settled or _lacking(refused.account) & _ours(other.account):
            continue  # what had no tensor before would be filled from another's
        if not refused.account.mismatched.keys() <= {*other.account.loaded}:
            continue  # nor is a tensor mended that nothing reads: loading would find that it is no copy
        words = _spelt(refused.config, replace(other.config, dtype=refused.config.dtype))
        if words is not None and all(known != other.config for known, _ in found):
            found.append((other.config, Remedy(words, ".".join(path), value, tuple(refused.account.missing))))
    return found[0][1] if len(found) == 1 else None


def _candidates(
    checkpoint: Checkpoint, refused: Interpreted, shapes: Mapping[str, Shape]
) -> Iterator[tuple[Path, Any]]:
    """Keys of the config, or of a group in it, and values that the tensors may speak for."""
    account, keys = refused.account, refused.keys
    sizes = _sizes(account, shapes, checkpoint)
    for path, value in _values(checkpoint.config, keys):
        if isinstance(value, bool):
            yield path, not value
        elif isinstance(value, int) and not account.missing:
            yield from ((path, size) for size in _spoken_for(path[-1], value, sizes))
            if LAYERS.search(path[-1]) and account.unexpected and not account.mismatched:
                yield path, _layers(account.unexpected, value)


def _lacking(account: Account) -> set[str]:
    """Our weights whose tensors are missing."""
    return {name for step in account.steps if set(step.theirs) & account.missing.keys() for name in step.ours}


def _ours(account: Account) -> set[str]:
    return {name for step in account.steps for name in step.ours}


def _values(config: Mapping[str, Any], keys: ForeignConfig) -> Iterator[tuple[Path, Any]]:
    for name, value in config.items():
        if isinstance(value, dict):
            yield from (((name, inner), v) for inner, v in value.items() if inner not in INERT)
        elif name not in INERT:
            yield (name,), value
    groups = {name: group for group in keys.groups for name, raw in config.items() if raw is group.raw}
    for start, part in (((), keys), *(((name,), group) for name, group in groups.items())):
        yield from (((*start, name), v) for name, v in part.lacking.items() if isinstance(v, bool))


def _sizes(account: Account, shapes: Mapping[str, Shape], checkpoint: Checkpoint) -> Counter[tuple[int, int]]:
    """(expected, found) sizes of the dimensions in which tensors are mismatched, with the number of these tensors."""
    counts: Counter[tuple[int, int]] = Counter()
    for step in account.steps:
        for name, shape in foreign_shapes(step, shapes).items():
            actual = account.actual.get(name)
            found = checkpoint.tensors[actual].shape if actual is not None else ()
            if len(found) == len(shape):
                counts.update({(a, b) for a, b in zip(shape, found, strict=True) if a != b})
    return counts


def _spoken_for(key: str, value: int, sizes: Counter[tuple[int, int]]) -> Iterator[int]:
    """Sizes that mismatched tensors have where the config's value was expected.

    One tensor alone may be broken itself. Rows that an embedding has beyond the vocabulary harm no other row.
    """
    for (expected, found), count in sizes.items():
        if expected == value and (count > 1 or (key == "vocab_size" and found > expected)):
            yield found


def _layers(unexpected: Iterable[str], before: int) -> int:
    """How many layers there are, by the highest number in the names that are left over."""
    numbers = [int(n) for name in unexpected for n in re.findall(r"(?<=\.)\d+(?=\.)", name)[:1]]
    return max([before, *(n + 1 for n in numbers)])


def _spelt(before: ModelConfig, after: ModelConfig) -> tuple[str, ...] | None:
    """The overrides that turn one config into the other; None where none do."""
    overrides = tuple(
        f"{path}={json.dumps(value, separators=(',', ':'))}" for path, (_, value) in differing(before, after).items()
    )
    try:
        return overrides if overrides and overridden(before, overrides) == after else None
    except ZooError:
        return None


def _with(config: Mapping[str, Any], path: Path, value: Any) -> dict[str, Any]:
    name, *rest = path
    return {**config, name: _with(config.get(name) or {}, tuple(rest), value) if rest else value}
