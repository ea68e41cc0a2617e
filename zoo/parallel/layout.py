"""How many ranks a model is laid out over, and in which ways. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

from zoo.errors import UsageError, clean, did_you_mean

GROUP = "parallel"  # what the words of a command line begin with
MOST = 65_536  # ranks


@dataclass(frozen=True)
class Layout:
    """How often a model is cut in each way; the product is the number of ranks."""

    tp: int = 1  # tensor parallel: a rank has some heads, some columns of each MLP, some of the vocabulary
    ep: int = 1  # expert parallel: a rank has some of the experts
    pp: int = 1  # pipeline: a rank has some of the layers
    dp: int = 1  # data parallel: a rank reads some of the texts
    cp: int = 1  # context parallel: a rank reads a part of each text

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 1 <= value <= MOST:
                raise UsageError(f"{GROUP}.{name}={value} is not from 1 to {MOST:,}")

    @property
    def num_ranks(self) -> int:
        """Ranks in all."""
        return self.tp * self.ep * self.pp * self.dp * self.cp

    def __str__(self) -> str:
        told = [f"{GROUP}.{name}={value}" for name, value in vars(self).items() if value > 1]
        return " ".join(told) or "one process"


NAMES = tuple(field.name for field in fields(Layout))


def layout_of(words: Iterable[str]) -> Layout:
    """The layout that words such as `parallel.tp=2` set. Raises UsageError for a word that sets nothing."""
    found: dict[str, int] = {}
    for word in words:
        key, _, value = word.partition("=")
        name = key.removeprefix(f"{GROUP}.")
        if name not in NAMES:
            known = [f"{GROUP}.{known}" for known in NAMES]
            raise UsageError(f"{clean(key)!r} is no setting of {GROUP}", why=did_you_mean(key, known))
        if not value.isascii() or not value.isdigit():
            raise UsageError(f"{GROUP}.{name}={clean(value)!r} is not a number of ranks")
        found[name] = int(value[:9])
    return Layout(**found)
