"""A broken folder, and where each printed hint leads that is followed to the letter."""

from __future__ import annotations

import re
import shlex
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from click.testing import CliRunner

import zoo
from zoo.cli import main
from zoo.cli.inspect import chosen
from zoo.errors import ZooError
from zoo.verification.inputs import inputs_for

DEPTH = 3  # hints that a hint leads to
LIMIT = 1e-9  # in float64 rounding leaves 1e-14
WORD = re.compile(
    r"--allow '[^']*'|--allow [^\s']+|family=[\w.-]+|'model\.[\w.]+=[^']*'|model\.[\w.]+=[^\s']*[^\s'.,;:]"
)
LOST = "wrong if it is missing from the files"  # a hint that says what would be wrong with it


@dataclass(frozen=True)
class End:
    """Where a command line ended: refused, the same model or another one."""

    words: tuple[str, ...]
    verdict: str  # refused | same | other | bug
    said: str
    is_warned: bool = False  # the hint that led here says when it would be wrong, and the command says it again


def walk(folder: Path, good: Path) -> Iterator[End]:
    """The ends of all hints, and of the hints that those lead to; first that of the folder as it is."""
    todo: list[tuple[tuple[str, ...], bool]] = [((), False)]
    seen: set[tuple[str, ...]] = set()
    while todo:
        words, is_warned = todo.pop(0)
        if words in seen:
            continue
        seen.add(words)
        end = followed(folder, good, words, is_warned=is_warned)
        yield end
        if end.verdict == "refused" and len(words) < 2 * DEPTH:
            new = [more for more in hints(end.said) if not set(more) - {"--allow"} <= set(words)]
            todo += [((*words, *more), LOST in end.said) for more in new]


def hints(said: str) -> list[tuple[str, ...]]:
    """What a message says to type: each line's words together, and each word alone."""
    found: list[tuple[str, ...]] = []
    for line in said.splitlines():
        words = [tuple(shlex.split(word)) for word in WORD.findall(line)]
        if words:
            found += [tuple(w for word in words for w in word), *words]
    return list(dict.fromkeys(found))


def followed(folder: Path, good: Path, words: tuple[str, ...], *, is_warned: bool = False) -> End:
    """Inspect and load the folder with `words`, and hold what comes to the unbroken model."""
    done = CliRunner().invoke(main, ["inspect", str(folder), *words])
    if done.exit_code:
        verdict = "bug" if "zoo has a bug" in done.output else "refused"
        return End(words, verdict, done.stderr)
    allow = tuple(words[i + 1] for i, word in enumerate(words) if word == "--allow")
    rest = tuple(w for i, w in enumerate(words) if w != "--allow" and (not i or words[i - 1] != "--allow"))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            overrides, family = chosen(rest)
            model: Any = zoo.load(folder, *overrides, dtype="float64", family=family, allow=allow)
        except ZooError as error:
            return End(words, "refused", str(error))
    notes = "\n".join(str(w.message) for w in told)
    is_told = is_warned and "was asked for" in notes
    return End(words, "same" if same(model, good) else "other", notes, is_told)


def same(model: Any, good: Path) -> bool:
    """Whether two models say the same of the same inputs; rows of a vocabulary that only one has are left out."""
    other: Any = zoo.load(good, dtype="float64")
    inputs = inputs_for(other, other.ledger, length=17)
    with torch.no_grad():
        try:
            ours, theirs = inputs.run(model), inputs.run(other)
        except (ZooError, RuntimeError, IndexError, TypeError, KeyError):
            return False
    shared = [name for name in theirs if name in ours]
    return bool(shared) and all(_is_near(ours[name], theirs[name]) for name in shared)


def _is_near(a: torch.Tensor, b: torch.Tensor) -> bool:
    width = min(a.shape[-1], b.shape[-1])
    if a.shape[:-1] != b.shape[:-1]:
        return False
    a, b = a[..., :width].double(), b[..., :width].double()
    return bool((a - b).abs().max() <= LIMIT * (b.square().mean().sqrt().item() or 1.0))
