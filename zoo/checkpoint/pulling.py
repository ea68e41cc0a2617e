"""A repository's checkpoint brought to this machine: pinned to a commit, only what is needed, every file checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from zoo.errors import UsageError
from zoo.hub.listing import HubFile
from zoo.presets.homes import home_of


@dataclass(frozen=True)
class Pull:
    """What was asked for, what it consists of, and where it is."""

    source: str
    repo: str
    revision: str | None  # as it was asked for; None: main
    commit: str
    files: tuple[HubFile, ...]
    folder: Path | None = None  # None: nothing was fetched

    @property
    def nbytes(self) -> int:
        """Bytes of all files."""
        return sum(file.nbytes for file in self.files)

    @property
    def missing_bytes(self) -> int:
        """Bytes of the files that the cache lacks."""
        return sum(file.nbytes for file in self.files if not file.is_cached)

    def to_dict(self) -> dict[str, Any]:
        """Everything above as JSON values."""
        return {
            "source": self.source,
            "repo": self.repo,
            "revision": self.revision,
            "commit": self.commit,
            "files": [asdict(file) for file in self.files],
            "bytes": self.nbytes,
            "missing_bytes": self.missing_bytes,
            "folder": str(self.folder) if self.folder else None,
        }


def pull(
    source: str,
    *,
    revision: str | None = None,
    folder: str | Path | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    allow_pickle: bool = False,
    force: bool = False,
    dry_run: bool = False,
    announce: Callable[[Pull], None] | None = None,
) -> Pull:
    """Fetch config, weights, tokenizer, templates, card and licence of org/name, hf://org/name@rev or a preset.

    They go to the cache and, with `folder`, are copied there beside a zoo.json, all or nothing; `force` replaces a
    folder that zoo wrote. `announce` is told what will be fetched before anything is; with `dry_run` nothing is, but
    for the index of the weights. Raises NetworkError for what is not to be had, CheckpointError for content that is
    not what the hub announced.
    """
    from zoo.hub.place import parse_source, repository_of

    place = parse_source(home_of(source))
    if place.kind != "hub":
        hint = (
            f"if you mean the hub: hf://{source}"
            if place.kind == "local" and not source.startswith((".", "/", "~"))
            else ""
        )
        raise UsageError(f"{source} is already on this machine: {place}", hint=hint)
    repository = repository_of(place, revision=revision, token=token, cache_dir=cache_dir)
    commit, files = repository.settle(allow_pickle=allow_pickle)
    found = Pull(source, place.name, repository.revision, commit, tuple(files))
    if announce:
        announce(found)
    if dry_run:
        return found
    snapshot = repository.bring(commit, files)
    here = snapshot / repository.path
    here = here if here.is_dir() else here.parent
    _check_manifest(here)
    if folder is not None:
        _copy(found, snapshot, here, Path(folder).expanduser(), force)
    return replace(found, folder=Path(folder).expanduser() if folder is not None else here)


def _check_manifest(folder: Path) -> None:
    """Where the repository has a zoo.json, hold its files against it."""
    from zoo.files.manifest import MANIFEST, verify_folder
    from zoo.hub.listing import is_text

    if (folder / MANIFEST).is_file():
        verify_folder(folder, free=is_text)


def _name(file: Path, here: Path) -> str:
    """What a file is called in the folder: of what lies below the checkpoint, its module's folder too."""
    return file.relative_to(here).as_posix() if file.is_relative_to(here) else file.name


def _copy(found: Pull, snapshot: Path, here: Path, folder: Path, force: bool) -> None:
    from zoo.checkpoint.provenance import recorded
    from zoo.files.manifest import MANIFEST
    from zoo.files.write import copy_folder
    from zoo.hub.card import CARD, license_in

    files = {_name(snapshot / file.name, here): snapshot / file.name for file in found.files}
    before = recorded(here)
    home = {"source": found.source, "repo": found.repo, "revision": found.revision, "commit": found.commit}
    known = before.get("license") or (license_in(files[CARD]) if CARD in files else "")
    files.pop(MANIFEST, None)
    copy_folder(folder, files, provenance={**before, **home, "license": known or None}, force=force)
