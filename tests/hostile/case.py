"""One hostile preset: the files of a folder, and the command that a user types who takes it for data."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

HEAD = "defaults:\n  - /schema/llama@_here_\n  - _self_\n"
SIZES = "vocab_size: 64\nhidden_size: 32\nintermediate_size: 64\nnum_layers: 2\n"
SIZES += "num_heads: 4\nnum_kv_heads: 2\nhead_dim: 8\n"
GOOD = HEAD + SIZES

CANARY = "CANARY"  # in a preset: a path outside all folders, which nothing may make
SECRET = "the-secret-that-lies-outside"
OUTSIDE = "OUTSIDE"  # in a preset: a folder beside the user's, with files that are none of the preset's business

Make = Callable[[Path], None]
Content = str | bytes | Make


@dataclass(frozen=True)
class Case:
    """What lies in the folder by path, and how it is used."""

    name: str
    files: Mapping[str, Content]
    words: tuple[str, ...] = ("case",)
    door: str = "build"  # one of DOORS


DOORS = {  # what is typed before the words; `plugin` doors see the files as a distribution's package
    "build": ["build", "-cd", "own"],
    "cfg": ["build", "-cd", "own", "--cfg", "all", "--resolve"],
    "info": ["build", "-cd", "own", "--info", "defaults"],
    "sweep": ["build", "-cd", "own", "-m"],
    "bench": ["bench", "-cd", "own", "--new", "1", "--prompt", "1", "--repeats", "1"],
    "show": ["show"],
    "compare": ["compare"],
    "list": ["list", "--json"],
    "plugin build": ["build"],
    "complete": [],
}
IS_PLUGIN = {"show", "compare", "list", "plugin build", "complete"}


def write(case: Case, place: Path) -> None:
    """Put the case below `place`: the folder own/, or the package zoo_hostile.conf in site/, with OUTSIDE beside it."""
    root = place / ("site/zoo_hostile/conf" if case.door in IS_PLUGIN else "own")
    outside = place / "outside"
    outside.mkdir(parents=True)
    (outside / "secret.yaml").write_text(f"{GOOD}source: {SECRET}\n")
    (root / "model").mkdir(parents=True)
    for path, content in case.files.items():
        file = root / path
        if not file.parent.exists():
            file.parent.mkdir(parents=True)
        if callable(content):
            content(file)
            continue
        data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
        data = data.replace(b"CANARY", os.fsencode(place / CANARY)).replace(b"OUTSIDE", os.fsencode(outside))
        file.write_bytes(data)
    if case.door in IS_PLUGIN:
        for folder in (root, root.parent):
            (folder / "__init__.py").touch()
        hook = "from zoo import hookimpl\n@hookimpl\ndef zoo_config_packages(): return ['zoo_hostile.conf']\n"
        (root.parent / "__init__.py").write_text(hook)
        info = place / "site" / "zoo_hostile-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: zoo-hostile\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[zoo]\nhostile = zoo_hostile\n")


def link(target: str) -> Make:
    """A link; `target` is relative to it."""
    return lambda file: file.symlink_to(target)


def pipe(file: Path) -> None:
    """A pipe that nobody writes to."""
    os.mkfifo(file)


def plug(file: Path) -> None:
    """A socket."""
    with socket.socket(socket.AF_UNIX) as made:
        here = os.getcwd()
        os.chdir(file.parent)  # its name may have 108 characters at most
        made.bind(file.name)
        os.chdir(here)


def sparse(size: int) -> Make:
    """A file of so many bytes that takes none."""

    def make(file: Path) -> None:
        file.touch()
        os.truncate(file, size)

    return make


def folder(file: Path) -> None:
    """A folder of a preset's name."""
    file.mkdir()
