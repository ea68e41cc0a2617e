"""What the registry finds: plugins and what became of them, and presets in their packages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from zoo.errors import ZooError, clean
from zoo.files.resources import MAX_BYTES, read_bounded
from zoo.registry.additions import Command, Format
from zoo.registry.family import Family

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable


@dataclass
class Plugin:
    """An entry point, and what became of it."""

    name: str
    distribution: str
    version: str
    state: str = "loaded"  # built in | loaded | broken | refused | blocked
    reason: str = ""
    families: tuple[Family, ...] = ()
    config_packages: tuple[str, ...] = ()
    formats: tuple[Format, ...] = ()  # of families that it does not own
    commands: tuple[Command, ...] = ()
    seconds: float = 0.0  # to import it and ask its hooks
    lost: tuple[str, ...] = ()  # families that it provided until it was found broken

    @property
    def id(self) -> str:
        return f"{self.distribution}:{self.name}"


@dataclass(frozen=True)
class Preset:
    """A named config in some plugin's conf/model folder, or an option of another group."""

    name: str
    package: str
    file: Traversable
    plugin: str  # distribution that ships it
    group: str = "model"
    problem: str = ""  # why its file is not read

    def data(self) -> bytes:
        """The file's bytes. Raises ZooError, which names it, for what is no regular file of at most MAX_BYTES."""
        if self.problem:
            raise ZooError(f"{clean(self.file, 300)}: {self.problem}")
        return read_bounded(self.file, MAX_BYTES)

    @property
    def description(self) -> str:
        """The comment on the file's first line, safe to print; empty where it cannot be read."""
        try:
            first = self.data().decode("utf-8-sig", errors="replace").splitlines()[:1]
        except ZooError:
            return ""
        return clean(first[0].removeprefix("#").strip(), 200) if first and first[0].startswith("#") else ""
