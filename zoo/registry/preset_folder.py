"""Which files of a folder or package are presets and options: by plain names, links followed no further than its root.

What lies there and cannot be used is told with its reason rather than left out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import ZooError, clean

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

MAX_FILES = 1_000  # presets of a folder or package, or options of a group, and the folders that they lie in
MAX_LISTED = 10_000  # of whatever kind
MAX_FOLDERS = 8  # one in another
NAME = re.compile(r"\w[\w.+ -]{0,99}")
GROUP = re.compile(r"[A-Za-z]\w{0,99}")
NO_GROUPS = frozenset(  # the keys of our own commands, which a group of that name would take from the user's mouth
    "hydra schema device dtype seed save format source prompt new batch repeats against compile quantize packed "
    "train optimizer parallel schedule objective data tokenizer lora keep_packed freeze stages".split()
)


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
    try:
        groups = [entry.name for entry in _listed(root) if GROUP.fullmatch(entry.name) and entry.is_dir()]
    except (OSError, ZooError):
        return []  # a package without a folder; of a user's folder `presets_in` tells
    return [e for name in groups if name not in ("model", *NO_GROUPS) for e in _within(root / name, name, homes)]


def unread_in(root: Path) -> Iterator[str]:
    """A sentence for each thing at the top of a user's folder that Hydra would read and zoo does not."""
    for entry in _listed(root):
        shown = clean(root / entry.name, 200)
        if entry.is_dir() and entry.name in NO_GROUPS:
            yield f"{shown} is not read: presets cannot set {entry.name}"
        elif entry.name.endswith(".yaml"):
            yield f"{shown} is not read: presets belong in model/, the options of a group in GROUP/"


def _within(folder: Traversable, group: str, homes: tuple[Path, ...]) -> list[FolderEntry]:
    if not folder.is_dir():
        return []
    try:
        if problem := _problem(folder, folder.name, homes):
            return [FolderEntry(group, f"{group}/", folder, problem)]
        return list(_walk(folder, group, homes, left=iter(range(MAX_FILES))))
    except OSError as error:
        return [FolderEntry(group, f"{group}/", folder, f"cannot be read: {error.strerror}")]
    except ZooError as error:
        return [FolderEntry(group, f"{group}/", folder, error.what)]


def _walk(
    folder: Traversable, group: str, homes: tuple[Path, ...], prefix: str = "", *, left: Iterator[int]
) -> Iterator[FolderEntry]:
    for entry in _listed(folder):
        name, is_folder = prefix + clean(entry.name, 300), entry.is_dir()
        if entry.name.startswith(("_", ".")) if is_folder else not entry.name.endswith(".yaml"):
            continue
        if next(left, None) is None:
            raise ZooError(f"holds more than {MAX_FILES} files and folders")
        problem = _problem(entry, entry.name if is_folder else entry.name.removesuffix(".yaml"), homes)
        if is_folder and prefix.count("/") == MAX_FOLDERS:
            problem = f"is more than {MAX_FOLDERS} folders deep"
        file = folder / entry.name
        if is_folder and not problem:
            yield from _walk(file, group, homes, f"{name}/", left=left)
        else:
            yield FolderEntry(group, f"{name}/" if is_folder else name.removesuffix(".yaml"), file, problem)


def _listed(folder: Traversable) -> Sequence[Traversable | os.DirEntry[str]]:
    """What a folder holds, by name. Raises ZooError where that is more than is read, before it is all listed.

    The system says with each name whether it is a folder; to ask for that again takes longer than all else. Of links
    it does not know.
    """
    if not isinstance(folder, Path):
        return sorted(folder.iterdir(), key=lambda entry: entry.name)
    with os.scandir(folder) as entries:
        found = [folder / e.name if e.is_symlink() else e for e in islice(entries, MAX_LISTED + 1)]
    if len(found) > MAX_LISTED:
        raise ZooError(f"holds more than {MAX_LISTED} files and folders")
    return sorted(found, key=lambda entry: entry.name)


def _problem(entry: Traversable | os.DirEntry[str], name: str, homes: tuple[Path, ...]) -> str:
    """Why an entry is not read: its name, or where it leads."""
    if not NAME.fullmatch(name):
        return "has a name with characters other than letters, digits, . + - and _"
    if not isinstance(entry, Path) or not entry.is_symlink():
        return ""
    if entry.is_dir():
        return "is a link to a folder; zoo does not follow it"
    try:
        target = entry.resolve(strict=True)
    except (OSError, RuntimeError):
        return "is a link to a file that does not exist"
    return "" if any(target.is_relative_to(home) for home in homes) else "is a link to a file outside the folder"


def _homes(root: Traversable, is_package: bool) -> tuple[Path, ...]:
    """Where links to files may lead: below the root, and for a package to where its own code lies.

    Some installers make a package of links into their cache. In a folder of presets a link that leads out would show
    a file that whoever made the folder could not read, and is no way to share one.
    """
    if not isinstance(root, Path):
        return ()
    code = root / "__init__.py"
    return (root.resolve(), *([code.resolve().parent] if is_package and code.is_symlink() else []))
