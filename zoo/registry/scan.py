"""The entry points of installed distributions, read off the folders beside their packages.

`importlib.metadata` gives the same and takes 45 ms for it, most of them to import a parser of e-mails: a third of
`zoo list`. What does not lie in plain folders, or is not written plainly, is left to it.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from importlib.machinery import PathFinder
from typing import Any

FOLDERS = (".dist-info", ".egg-info")


class NotPlain(Exception):
    """Something that only `importlib.metadata` can read."""


@dataclass(frozen=True)
class InfoFolder:
    """What a .dist-info or .egg-info folder says of its distribution."""

    path: str

    @property
    def is_whole(self) -> bool:
        """Whether what it requires stands among its headers; old tools write it elsewhere."""
        return bool(self.requires) or not os.path.exists(f"{self.path}/requires.txt")

    @cached_property
    def metadata(self) -> dict[str, str]:
        """Name and Version."""
        return {name: found[0] for name in ("Name", "Version") if (found := self._headers(name))}

    @property
    def name(self) -> str:
        """As the distribution spells it."""
        return self.metadata["Name"]

    @property
    def requires(self) -> list[str]:
        """What the distribution requires, a line each."""
        return self._headers("Requires-Dist")

    def _headers(self, name: str) -> list[str]:
        file = "METADATA" if self.path.lower().endswith(FOLDERS[0]) else "PKG-INFO"
        with open(f"{self.path}/{file}", encoding="utf-8") as text:
            head = text.read().partition("\n\n")[0]
        return re.findall(rf"^{name}:[ \t]*(.*?)[ \t]*$", head, re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True)
class PluginPoint:
    """An entry point, as `importlib.metadata.EntryPoint` is one."""

    name: str
    value: str  # module, or module:attribute
    group: str
    dist: InfoFolder = field(compare=False)

    def load(self) -> Any:
        """The object that it names. Raises whatever its code raises."""
        module, _, attributes = self.value.partition(":")
        found = import_module(module)
        for attribute in filter(None, attributes.split(".")):
            found = getattr(found, attribute)
        return found


def scanned_points(group: str) -> list[PluginPoint]:
    """The entry points of a group. Raises NotPlain where the path holds what is not read here."""
    if any(hasattr(finder, "find_distributions") and finder is not PathFinder for finder in sys.meta_path):
        raise NotPlain
    seen: set[str] = set()
    found: list[PluginPoint] = []
    for folder in _folders():
        name = re.sub(r"[-_.]+", "_", os.path.basename(folder).lower().rpartition(".")[0].partition("-")[0])
        if name in seen:
            continue  # the first on the path is the one that is imported
        seen.add(name)
        if lines := _section(folder, group):
            if not (dist := InfoFolder(folder)).is_whole:
                raise NotPlain
            found += [PluginPoint(key, value, group, dist) for key, value in lines]
    return found


def _folders() -> Iterator[str]:
    for place in sys.path:
        root = place or "."
        if root.endswith(".egg") or os.path.isfile(root):
            raise NotPlain
        try:
            names = os.listdir(root)
        except OSError:
            continue
        yield from (os.path.join(root, name) for name in names if name.lower().endswith(FOLDERS))


def _section(folder: str, group: str) -> list[tuple[str, str]]:
    """Names and values of a group in a distribution's entry_points.txt."""
    try:
        with open(f"{folder}/entry_points.txt", encoding="utf-8") as file:
            lines = [line.strip() for line in file]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, ValueError):
        raise NotPlain from None
    section, found = "", []
    for line in lines:
        if not line or line.startswith("#"):
            continue
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
        elif not (pair := re.fullmatch(r"([^=]*?)\s*=\s*([\w.]+(?::[\w.]+)?)(?:\s*\[.*\])?", line)):
            raise NotPlain
        elif section == group:
            found.append((pair[1], pair[2]))
    return found
