"""The patterns by which peft's settings name modules, read as peft reads them; those that may take long are refused."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from functools import cache, lru_cache

from zoo.errors import CheckpointError, clean

LONGEST = 1 << 20  # characters
# Letters, classes of digits, groups of choices, and at most three stars: none of this can take long on a name.
_PLAIN = re.compile(r"(?:[\w-]|\\[.d_]|\\d\+|\[0-9\]\+?|\.\*\??|\.|\((?:\?:)?|\||\)(?![*+{])|\^|\$)*")


@cache
def compiled(pattern: str, file: str, key: str) -> re.Pattern[str]:
    """A regular expression of a file. Raises CheckpointError for one that zoo does not evaluate."""
    if len(pattern) > LONGEST or not _PLAIN.fullmatch(pattern) or pattern.count("*") + pattern.count("+") > 3:
        why = "it reads letters, dots, digits, choices (a|b) and up to three .* or \\d+"
        raise CheckpointError(file, key, f"zoo does not evaluate the pattern {clean(repr(pattern))}", why=why)
    try:
        return re.compile(pattern)
    except re.error as error:
        raise CheckpointError(file, key, f"{clean(repr(pattern))} is not a regular expression: {error}") from None


def ends_with(module: str, names: Collection[str]) -> bool:
    """Whether `module` is one of `names`, or ends in one behind a dot."""
    known = names if isinstance(names, set | frozenset) else _set_of(tuple(names))
    return any(end in known for end in endings(module))


def endings(module: str) -> list[str]:
    """The name, and what stands behind each of its dots."""
    return [module, *(module[i + 1 :] for i, c in enumerate(module) if c == ".")]


@lru_cache(maxsize=8)
def _set_of(names: tuple[str, ...]) -> frozenset[str]:
    return frozenset(names)


def first_matching(patterns: Iterable[str], module: str, file: str, key: str) -> str | None:
    """The first pattern that all of `module`, or what stands behind a dot of it, matches."""
    for pattern in patterns:
        found = compiled(pattern, file, key)
        starts = [0, *(i + 1 for i, c in enumerate(module) if c == ".")]
        if any(found.fullmatch(module, start) for start in starts):
            return pattern
    return None


_LAYER = re.compile(r".*?\.[^.]*\.([0-9]+)\.")  # the first number in a name is the layer's


def layer_of(module: str, names: Iterable[str] = ()) -> int | None:
    """The number of the layer that `module` is in; of the lists called `names` only, where there are any."""
    for name in names:
        if found := re.match(rf"(?:^|.*?\.){re.escape(name)}\.([0-9]+)\.", module):
            return int(found[1])
    found = None if names else _LAYER.match(module)
    return None if found is None else int(found[1])
