"""What a plugin may bring besides families: a format of a family that it does not own, and a command."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.util import find_spec

from zoo.errors import ZooError

REFERENCE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")


@dataclass(frozen=True)
class Format:
    """Another way in which a family's checkpoints are stored, held by the same ledger, proof and contract."""

    family: str  # the name of an installed family
    name: str  # as in `zoo convert --to NAME`
    dialect: str  # "package.module:NAME" of a zoo.weights.Dialect; read from a folder's config.json if it `matches`

    def problem(self) -> str:
        """What is wrong with the record itself, in a sentence; empty: nothing."""
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name):
            return f"{self.name!r} is not a format name: use lower case letters, digits, _ and -"
        return _bad_reference(f"the format {self.name!r}", self.dialect)


@dataclass(frozen=True)
class Command:
    """A command of `zoo`, whose module is imported when it is asked for."""

    name: str  # as in `zoo NAME`
    target: str  # "package.module:name" of a click.Command
    about: str  # one line for `zoo --help`

    def problem(self) -> str:
        """What is wrong with the record itself, in a sentence; empty: nothing."""
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name):
            return f"{self.name!r} is not a command name: use lower case letters, digits, _ and -"
        if find_spec(f"zoo.cli.{self.name.replace('-', '_')}"):
            return f"the command {self.name!r} belongs to zoo itself"
        return _bad_reference(f"the command {self.name!r}", self.target)


def check_additions(hook: str, found: tuple[object, ...], kind: type[Format] | type[Command]) -> None:
    """Refuse what is no record of its kind, one that is wrong in itself, and two of one name. Raises ZooError."""
    names = set()
    for one in found:
        if not isinstance(one, kind):
            raise ZooError(f"{hook} returned {one!r}, which is not a zoo.{kind.__name__}")
        if problem := one.problem():
            raise ZooError(problem)
        key = (getattr(one, "family", ""), one.name)
        if key in names:
            raise ZooError(f"{hook} returned {one.name!r} twice")
        names.add(key)


def _bad_reference(what: str, reference: object) -> str:
    is_one = isinstance(reference, str) and REFERENCE.fullmatch(reference)
    return "" if is_one else f"{what}: {reference!r} is not of the form 'package.module:name'"
