"""The distribution that `zoo new-plugin` writes: the files beside this module with a family's name put in.

Templates end in `.in`; `{{word}}` in them, and `package` and `name` in their paths, are replaced, and nothing else.
Needs only the standard library.
"""

from __future__ import annotations

import keyword
import os
import re
import shutil
from importlib.resources import files
from importlib.resources.abc import Traversable
from importlib.util import find_spec
from pathlib import Path

from zoo.errors import UsageError, ZooError, clean
from zoo.files.beside import named
from zoo.registry import DISTRIBUTION, installed
from zoo.version import __version__

WORD = re.compile(r"\{\{(\w+)\}\}")


def write(name: str, parent: Path) -> tuple[Path, list[str]]:
    """Write zoo-NAME into `parent`, whole or not at all; gives the folder and the paths of its files.

    Raises UsageError for a name that cannot be used, ZooError where the folder exists or cannot be written.
    """
    check_name(name)
    words = words_for(name)
    target = parent / words["distribution"]
    if target.exists() or target.is_symlink():
        raise ZooError(
            f"{target} exists",
            why="new-plugin never overwrites anything",
            hint="use --dir, or move the existing folder",
        )
    if not parent.is_dir():
        raise ZooError(f"{parent} is not a folder")
    hidden = parent / f".{target.name}.{os.getpid()}.incomplete"
    try:
        texts = rendered(words)
        with named(target):
            for path, text in texts.items():
                (hidden / path).parent.mkdir(parents=True, exist_ok=True)
                (hidden / path).write_text(text, encoding="utf-8")
            hidden.rename(target)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
    return target, list(texts)


def rendered(words: dict[str, str]) -> dict[str, str]:
    """Every file of the distribution by its path."""
    found = {}
    for path, text in _templates(files(__name__) / "files"):
        place = path.removesuffix(".in").replace("package/", f"{words['package']}/")
        place = place.replace("name-tiny", f"{words['name']}-tiny")
        found[place] = WORD.sub(lambda match: words[match[1]], text)
    return dict(sorted(found.items()))


def words_for(name: str) -> dict[str, str]:
    """What stands for each `{{word}}`."""
    major, minor, *_ = __version__.split(".")
    upper = f"0.{int(minor) + 1}" if major == "0" else str(int(major) + 1)
    return {
        "name": name,
        "package": f"zoo_{name}",
        "distribution": f"zoo-{name.replace('_', '-')}",
        "class": "".join(part.capitalize() for part in name.split("_")),
        "constant": name.upper(),
        "requires": f">={major}.{minor},<{upper}",
    }


def check_name(name: str) -> None:
    """Refuse what cannot be the name of a family, a Python package and a distribution at once. Raises UsageError."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name):
        raise UsageError(
            f"{clean(name)!r} cannot be the name of a family",
            why="it also names a Python package: lower-case letters, digits and single underscores, a letter first",
            hint=f"try {meant}" if (meant := _nearest_name(name)) else "",
        )
    if keyword.iskeyword(name) or keyword.issoftkeyword(name):
        raise UsageError(f"{name!r} is a Python keyword and cannot be the name of a family", hint=f"try {name}_model")
    registry = installed()
    words = words_for(name)
    if (origin := registry.origin.get(name)) is not None:
        raise UsageError(f"the family name {name!r} is taken by {origin.distribution}", hint="choose another name")
    if taken := next((p for p in registry.plugins if p.name == name), None):
        raise UsageError(f"the plugin name {name!r} is taken by {taken.distribution}", hint="choose another name")
    if words["distribution"] == DISTRIBUTION:
        raise UsageError(f"{DISTRIBUTION} is zoo's own distribution", hint="choose another name")
    if f"{name}-tiny" in registry.presets():
        raise UsageError(f"the preset {name}-tiny exists already", hint="choose another name")
    if find_spec(words["package"]) is not None:
        raise UsageError(f"the Python package {words['package']!r} is installed already", hint="choose another name")


def _nearest_name(name: str) -> str:
    """What was probably meant: `My-Net` is my_net."""
    meant = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.removeprefix("zoo-").removeprefix("zoo_"))
    return re.sub(r"[^a-z0-9]+", "_", meant.lower()).strip("_0123456789")


def _templates(folder: Traversable, prefix: str = "") -> list[tuple[str, str]]:
    """(path, text) of every template below a folder."""
    found = []
    for entry in folder.iterdir():
        if entry.is_dir():
            found += _templates(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".in"):
            found.append((prefix + entry.name, entry.read_text(encoding="utf-8")))
    return found
