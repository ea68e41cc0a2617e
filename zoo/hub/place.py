"""From a source to a folder or file on this machine.

Nothing connects but an explicit hf://... or a caller that says so: a bare org/name is looked up in the cache.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from zoo.errors import NetworkError, UsageError
from zoo.files.folders import absent
from zoo.hub.client import HubClient
from zoo.hub.listing import HubFile
from zoo.hub.repository import Repository
from zoo.hub.source import Source, in_package, parse_source

__all__ = ["HubFile", "Place", "Source", "dry_run", "locate", "parse_source", "repository_of"]


class Place(NamedTuple):
    """Where a source is on this machine; for one of the hub its repository, the revision asked for and the commit."""

    path: Path
    commit: str | None = None
    source: str = ""  # as it was asked for
    repo: str | None = None
    revision: str | None = None


def locate(
    source: str | Path | Source,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    allow_network: bool = False,
    allow_pickle: bool = False,
) -> Place:
    """The folder or file that `source` means, fetched first if it may be.

    An hf:// source may connect, and so may org/name with `allow_network`; `local_files_only` forbids both. Pickles are
    fetched only with `allow_pickle`. Warns with a ZooWarning where the cache stands in for a hub that is out of reach.
    Raises NetworkError for what cannot be had, CheckpointError for what is not there, UsageError for a revision of
    what is no repository.
    """
    asked, source = str(source), source if isinstance(source, Source) else parse_source(source)
    if source.kind != "hub" and revision:
        raise UsageError(f"{source} is not a repository on the hub, so it has no revision {revision!r}")
    if source.kind == "local":
        return Place(Path(source.name).expanduser(), source=asked)
    if source.kind == "package":
        return Place(in_package(source), source=asked)
    repository = repository_of(source, revision=revision, token=token, cache_dir=cache_dir)
    is_allowed = (source.is_explicit or allow_network) and not local_files_only
    try:
        path, commit = repository.fetch(allow_pickle=allow_pickle) if is_allowed else repository.cached()
    except NetworkError:
        here = Path(asked)
        if source.is_explicit or allow_network or not here.parent.is_dir():
            raise
        raise absent(here) from None  # a name in a folder that exists is a path that was mistyped
    return Place(path, commit, asked, source.name, repository.revision)


def dry_run(
    source: str | Path | Source,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    allow_pickle: bool = False,
) -> list[HubFile]:
    """The files of the hub that `locate` would give, with sizes. Connects; fetches nothing but the weights' index."""
    source = source if isinstance(source, Source) else parse_source(source)
    if source.kind != "hub":
        return []
    repository = repository_of(source, revision=revision, token=token, cache_dir=cache_dir)
    return repository.wanted(repository.commit(), allow_pickle=allow_pickle)


def repository_of(
    source: Source,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
) -> Repository:
    """The repository that a source of the hub names. Raises UsageError for two revisions that differ."""
    if revision and source.revision and revision != source.revision:
        raise UsageError(
            f"{source} names the revision {source.revision!r}, but the revision {revision!r} was asked for"
        )
    return Repository(HubClient(source.name, token, cache_dir), revision or source.revision, source.path)
