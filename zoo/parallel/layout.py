"""How many ranks a model is laid out over, and in which ways. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

from zoo.errors import UsageError, clean, did_you_mean

GROUP = "parallel"  # what the words of a command line begin with
# The ways in which a model is cut that runs, as a mesh names them; dp spreads what is whole or cut. sp is tp whose
# ranks part the states between the cut blocks as well: of a layout it is a claim, not one more number of ranks.
CUTS = ("tp", "sp", "ep", "pp", "cp")
MOST = 65_536  # ranks


@dataclass(frozen=True)
class Layout:
    """How often a model is cut in each way; the product is the number of ranks."""

    tp: int = 1  # tensor parallel: a rank has some heads, some columns of each MLP, some of the vocabulary
    ep: int = 1  # expert parallel: a rank has some of the experts
    pp: int = 1  # pipeline: a rank has some of the layers
    dp: int = 1  # data parallel: a rank reads some of the texts
    cp: int = 1  # context parallel: a rank reads a part of each text
    sp: bool = False  # sequence parallel: ranks of tp have parts of the texts between the blocks that are cut

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name != "sp" and not 1 <= value <= MOST:
                raise UsageError(f"{GROUP}.{name}={value} is not from 1 to {MOST:,}")
        if self.sp and self.tp == 1:
            what = f"{GROUP}.sp=true parts what stands between the blocks that {GROUP}.tp cuts, and {GROUP}.tp is 1"
            raise UsageError(what, hint=f"add {GROUP}.tp=2, or leave {GROUP}.sp out")
        if self.sp and (other := [name for name in ("ep", "cp") if getattr(self, name) > 1]):
            what = f"{GROUP}.sp=true and {GROUP}.{other[0]} do not go together"
            raise UsageError(what, hint=f"{GROUP}.sp goes with {GROUP}.tp, and beside that with pp or dp")

    @property
    def num_ranks(self) -> int:
        """Ranks in all."""
        return self.tp * self.ep * self.pp * self.dp * self.cp

    def __str__(self) -> str:
        told = [f"{GROUP}.{name}={value}" for name, value in vars(self).items() if value > 1]
        told += [f"{GROUP}.sp=true"] if self.sp else []
        return " ".join(told) or "one process"


TIMEOUT = "timeout"  # the word of the group that is no way: seconds that a rank waits for the others
LONGEST = 86_400  # seconds

NAMES = tuple(field.name for field in fields(Layout))


def layout_of(words: Iterable[str]) -> Layout:
    """The layout that words such as `parallel.tp=2` set. Raises UsageError for a word that sets nothing."""
    found: dict[str, Any] = {}
    for word in words:
        key, _, value = word.partition("=")
        name = key.removeprefix(f"{GROUP}.")
        if name == TIMEOUT and "." in key:
            continue
        if name not in NAMES:
            known = [f"{GROUP}.{known}" for known in (*NAMES, TIMEOUT)]
            raise UsageError(f"{clean(key)!r} is not a setting of {GROUP}", why=did_you_mean(key, known))
        if name == "sp":
            if value.lower() not in ("true", "false"):
                raise UsageError(f"{GROUP}.sp={clean(value)!r} is not true or false", hint=f"{GROUP}.tp counts ranks")
            found[name] = value.lower() == "true"
            continue
        if not value.isascii() or not value.isdigit():
            raise UsageError(f"{GROUP}.{name}={clean(value)!r} is not a number of ranks")
        found[name] = int(value[:9])
    return Layout(**found)


def timeout_of(words: Iterable[str]) -> int | None:
    """The seconds that `parallel.timeout=60` sets. Raises UsageError for what is none."""
    given = [word.partition("=")[2] for word in words if word.partition("=")[0] == f"{GROUP}.{TIMEOUT}"]
    return checked_timeout(given[-1]) if given else None


def checked_timeout(value: object) -> int | None:
    """A number of seconds, or None for `null`. Raises UsageError for anything else."""
    told = str(value)
    if value is None or told == "null":
        return None
    if not told.isascii() or not told.isdigit() or not 1 <= int(told[:9]) <= LONGEST:
        raise UsageError(f"{GROUP}.{TIMEOUT}={clean(told)} is not from 1 to {LONGEST:,} seconds")
    return int(told)


def of_words(words: Iterable[str]) -> tuple[Layout, int | None, tuple[str, ...]]:
    """The layout and the timeout among words, and the other words."""
    words = tuple(words)
    own = [word for word in words if is_of_group(word)]
    bare = [word.lstrip("+") for word in own]
    return layout_of(bare), timeout_of(bare), tuple(word for word in words if word not in own)


def is_of_group(word: str) -> bool:
    """Whether a word of a command line is about ranks."""
    return word.lstrip("+").partition("=")[0].partition(".")[0] == GROUP
