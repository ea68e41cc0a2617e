"""Which files of a folder or package are presets and options: by plain names, links followed no further than its root.

What lies there and cannot be used is told with its reason rather than left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path

from zoo.errors import clean

MAX_FILES = 1_000
MAX_FOLDERS = 8  # one in another
NAME = re.compile(r"\w[\w.+ -]{0,99}")
GROUP = re.compile(r"[A-Za-z]\w{0,99}")
NO_GROUPS = ("schema", "hydra")  # the first holds config classes, and Hydra's own settings are no preset's to make


@dataclass(frozen=True)
class FolderEntry:
    """A file by its name below a group's folder, without .yaml; `problem` says why it is not read."""

    group: str
    name: str
    file: Traversable
    problem: str = ""


def presets_in(root: Traversable, *, is_package: bool) -> list[FolderEntry]:
    """The presets of a folder or package, in the order of their names."""
    return _within(root / "model", "model", _homes(root, is_package))


def options_in(root: Traversable, *, is_package: bool) -> list[FolderEntry]:
    """The options of every group but `model`: that is any folder with a plain name."""
    homes = _homes(root, is_package)
    groups = sorted(entry.name for entry in root.iterdir() if GROUP.fullmatch(entry.name) and entry.is_dir())
    return [e for name in groups if name not in ("model", *NO_GROUPS) for e in _within(root / name, name, homes)]


def unread_in(root: Path) -> Iterator[str]:
    """A sentence for each thing at the top of a user's folder that Hydra would read and zoo does not."""
    for entry in sorted(root.iterdir()):
        if entry.is_dir() and entry.name in NO_GROUPS:
            yield f"{clean(entry, 200)} is not read: presets have no say in {entry.name}"
        elif entry.suffix == ".yaml":
            yield f"{clean(entry, 200)} is not read: presets lie in model/, the options of a group in GROUP/"


def _within(folder: Traversable, group: str, homes: tuple[Path, ...]) -> list[FolderEntry]:
    found: list[FolderEntry] = []
    if not folder.is_dir():
        return found
    try:
        if problem := _problem(folder, folder.name, homes):
            return [FolderEntry(group, f"{group}/", folder, problem)]
        for entry in _walk(folder, group, homes):
            found.append(entry)
            if len(found) > MAX_FILES:
                return [FolderEntry(group, f"{group}/", folder, f"holds more than {MAX_FILES} files")]
    except OSError as error:
        return [FolderEntry(group, f"{group}/", folder, f"cannot be read: {error.strerror}")]
    return found


def _walk(folder: Traversable, group: str, homes: tuple[Path, ...], prefix: str = "") -> Iterator[FolderEntry]:
    for entry in sorted(folder.iterdir(), key=lambda e: e.name):
        name = prefix + clean(entry.name, 300)
        if entry.is_dir():
            if entry.name.startswith(("_", ".")):
                continue
            problem = _problem(entry, entry.name, homes)
            if prefix.count("/") == MAX_FOLDERS:
                problem = f"lies more than {MAX_FOLDERS} folders deep"
            if problem:
                yield FolderEntry(group, f"{name}/", entry, problem)
            else:
                yield from _walk(entry, group, homes, f"{name}/")
        elif entry.name.endswith(".yaml"):
            problem = _problem(entry, entry.name.removesuffix(".yaml"), homes)
            yield FolderEntry(group, name.removesuffix(".yaml"), entry, problem)


def _problem(entry: Traversable, name: str, homes: tuple[Path, ...]) -> str:
    """Why an entry is not read: its name, or where it leads."""
    if not NAME.fullmatch(name):
        return "has no plain name: letters, digits, . + - and _"
    if not isinstance(entry, Path) or not entry.is_symlink():
        return ""
    if entry.is_dir():
        return "is a link to a folder, which is not entered"
    try:
        target = entry.resolve(strict=True)
    except (OSError, RuntimeError):
        return "is a link that leads nowhere"
    return "" if any(target.is_relative_to(home) for home in homes) else "is a link that leads out of the folder"


def _homes(root: Traversable, is_package: bool) -> tuple[Path, ...]:
    """Where links to files may lead: below the root, and for a package to where its own code lies.

    Some installers make a package of links into their cache. In a folder of presets a link that leads out would show
    a file that whoever made the folder could not read, and is no way to share one.
    """
    if not isinstance(root, Path):
        return ()
    code = root / "__init__.py"
    return (root.resolve(), *([code.resolve().parent] if is_package and code.is_symlink() else []))
