"""The keys in which a config says how weights are packed: each is read, known to be without effect, or refused."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoo.errors import CheckpointError, clean, some

INERT = frozenset("quant_method quantization_status version modules_to_not_convert ignore".split())


@dataclass
class PackingKeys:
    """One group of keys, `name` in `file`; what is asked for is written down, and `check` refuses the rest."""

    raw: Mapping[str, Any]
    file: Path
    name: str = "quantization_config"
    used: set[str] = field(default_factory=set)

    def number(self, key: str, default: int | None, *, among: Iterable[int] = (), least: int = 1) -> int:
        """A whole number, one of `among` where they are given."""
        value = self.get(key, default)
        among = tuple(among)
        if type(value) is not int or (value not in among if among else not least <= value <= 1 << 20):
            expected = f"one of {', '.join(map(str, among))}" if among else f"a number from {least} to 2^20"
            raise self.refuse(key, f"{clean(repr(value))} is not {expected}")
        return value

    def flag(self, key: str, default: bool | None) -> bool:
        """true or false."""
        value = self.get(key, default)
        if not isinstance(value, bool):
            raise self.refuse(key, f"{clean(repr(value))} is neither true nor false")
        return value

    def word(self, key: str, default: str | None, *, among: Iterable[str]) -> str:
        """One of the words `among`, whatever its case."""
        value, among = self.get(key, default), tuple(among)
        if not isinstance(value, str) or value.lower() not in among:
            raise self.refuse(key, f"{clean(repr(value))} is not one of {some(among, 12)}", hint=HINT)
        return value.lower()

    def names(self, *keys: str) -> list[str]:
        """A list of names of modules, empty where no key is there."""
        found: list[str] = []
        for key in keys:
            value = self.get(key) or []
            if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
                raise self.refuse(key, f"{clean(repr(value))} is not a list of names")
            found += value
        return found

    def group(self, key: str) -> PackingKeys | None:
        """The keys in the group `key`; None where it is null or absent."""
        value = self.get(key)
        if value is not None and not isinstance(value, dict):
            raise self.refuse(key, f"{clean(repr(value))} is not a group of keys")
        return None if value is None else PackingKeys(value, self.file, f"{self.name}.{key}")

    def get(self, key: str, default: Any = None) -> Any:
        """The value, or `default` where it is absent or null."""
        self.used.add(key)
        value = self.raw.get(key)
        return default if value is None else value

    def pass_over(self, *keys: str) -> None:
        """Declare keys that do not change what the numbers in the file mean."""
        self.used.update(keys)

    def check(self) -> None:
        """Refuse a key that nobody asked for and that says something."""
        unread = [key for key, value in self.raw.items() if key not in self.used | INERT and value]
        if unread:
            why = "a key that is not read could change what the numbers in the file mean"
            raise self.refuse(unread[0], f"the key is not known{_others(unread[1:])}", why=why, hint=HINT)

    def refuse(self, key: str, what: str, *, why: str = "", hint: str = "") -> CheckpointError:
        """The error that names one key."""
        item = ".".join(part for part in (self.name, clean(key)) if part)
        return CheckpointError(self.file, item, what, why=why, hint=hint)


def is_meant(name: str, module: str) -> bool:
    """Whether a list's name is `module`, whole parts of its path ("visual", "lm_head"), or a pattern of it ("re:...").

    A pattern that is richer than zoo tries means nothing here: use `matches` where that must be known.
    """
    if name.startswith("re:"):
        return bool(matches(name.removeprefix("re:"), module))
    return bool(name) and f".{name.strip('.')}." in f".{module}."


def matches(pattern: str, module: str) -> bool | None:
    """Whether a pattern matches from the beginning; None for one that is richer than zoo tries, or is none."""
    if len(pattern) > 300 or pattern.count("*") + pattern.count("+") > 4 or re.search(r"\)[*+{?]|\{|\(\?", pattern):
        return None
    try:
        return re.match(pattern, module) is not None
    except re.error:
        return None


HINT = "use the checkpoint in 16 or 32 bits: --allow cannot make packed weights readable"


def _others(names: list[str]) -> str:
    return f", nor {some([clean(name) for name in names], 8)}" if names else ""


def excepted(names: Iterable[str], matrices: Iterable[str], keys: PackingKeys) -> list[str]:
    """What to say of modules that the config excepts and the file has packed: the file is followed."""
    listed = list(dict.fromkeys(names))
    packed = [name for name in matrices if any(is_meant(each, name.removesuffix(".weight")) for each in listed)]
    told = "says that {} is not packed, but the file has it packed: the file is followed"
    return [f"{keys.name} {told.format(clean(some(packed), 200))}"] if packed else []
