"""A repository on the Hugging Face hub and its cached copies; the only module that imports huggingface_hub.

What is fetched is what a checkpoint consists of, at one commit; and the content of what is fetched is checked, where
the library checks only the size.
"""

from __future__ import annotations

import glob
import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from zoo.errors import CheckpointError, NetworkError, UsageError, ZooError, clean, some
from zoo.weights.files import sha256_of
from zoo.weights.hub_files import HubFile, choose

T = TypeVar("T")
IN_THE_BOX = "tiny"
PAUSES = (1.0, 3.0)  # seconds before the second and the third try, where the hub has trouble


class Unreachable(NetworkError):
    """Nobody answered, or the hub has trouble of its own: what is in the cache may do."""


@dataclass(frozen=True)
class Repository:
    """One repository at one revision, and who asks for it."""

    name: str
    revision: str | None = None  # branch, tag or commit; None: main
    path: str = ""  # the folder or file within it
    token: str | bool | None = None
    cache_dir: str | Path | None = None

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        return f"hf://{self.name}{revision}" + (f"/{self.path}" if self.path else "")

    def commit(self) -> str:
        """The commit that the revision stands for now."""
        from huggingface_hub import HfApi

        if self._is_pinned:
            return str(self.revision)
        with self._errors():
            found = _tried(lambda: HfApi(token=self.token).model_info(self.name, revision=self.revision or "main"))
        if not found.sha:
            raise NetworkError(f"{self}: the hub names no commit")
        return found.sha

    def fetch(self, *, allow_pickle: bool) -> tuple[Path, str]:
        """The path on this machine and its commit; from the cache, and saying so, where the hub cannot be reached."""
        try:
            commit = self.commit()
            files = self.wanted(commit, allow_pickle=allow_pickle)
            folder = self._download(commit, [file.name for file in files])
        except Unreachable:
            if (place := self._cached()) is None:
                raise
            if not self._is_pinned:
                what = f"the hub is out of reach: {self} is the cached commit {place[1]}, and may have moved since"
                warnings.warn(what, stacklevel=3)
            return place
        for file in files:
            if not file.is_cached:
                _check_content(folder / file.name)
        self._remember(folder, commit)
        return folder / self.path, commit

    def wanted(self, commit: str, *, allow_pickle: bool) -> list[HubFile]:
        """The files that make up the checkpoint, the index of its weights being fetched to know them."""
        from huggingface_hub import try_to_load_from_cache

        def is_cached(name: str) -> bool:
            return isinstance(try_to_load_from_cache(self.name, name, self.cache_dir, commit), str)

        sizes = self._listed(commit)
        names = choose(
            str(self),
            list(sizes),
            self.path,
            allow_pickle=allow_pickle,
            read=lambda name: self._download(commit, [name]) / name,
        )
        return [HubFile(name, size, is_cached(name)) for name, size in sizes.items() if name in names]

    def cached(self) -> tuple[Path, str]:
        """The path in the cache and its commit, without connecting. Raises NetworkError where it is not there."""
        if (place := self._cached()) is None:
            raise NetworkError(f"{self.name} is not in the cache", why=self._known(), hint=self._how())
        return place

    @property
    def _is_pinned(self) -> bool:
        return self.revision is not None and len(self.revision) == 40 and set(self.revision) <= set("0123456789abcdef")

    def _cached(self) -> tuple[Path, str] | None:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

        try:
            # No file is asked for: whether the folder is whole is seen when its headers are read.
            folder = snapshot_download(
                self.name,
                revision=self.revision,
                cache_dir=self.cache_dir,
                allow_patterns=[],
                local_files_only=True,
            )
        except LocalEntryNotFoundError:
            return None
        except HFValidationError as error:
            raise UsageError(f"{clean(self.name)!r} is no name of a repository", why=clean(error)) from error
        return Path(folder) / self.path, Path(folder).name

    def _listed(self, commit: str) -> dict[str, int]:
        """Every file of the repository and its size in bytes."""
        from huggingface_hub import HfApi, get_cached_repo_tree
        from huggingface_hub.errors import CachedRepoTreeNotFoundError
        from huggingface_hub.hf_api import RepoFile

        def ask() -> list[RepoFile]:
            tree = HfApi(token=self.token).list_repo_tree(self.name, recursive=True, revision=commit)
            return [entry for entry in tree if isinstance(entry, RepoFile)]

        with self._errors():
            try:
                entries = get_cached_repo_tree(self.name, revision=commit, cache_dir=self.cache_dir)
            except CachedRepoTreeNotFoundError:
                entries = _tried(ask)
        return {entry.path: entry.size for entry in entries}

    def _download(self, commit: str, names: Sequence[str]) -> Path:
        from huggingface_hub import snapshot_download

        with self._errors():
            folder = _tried(
                lambda: snapshot_download(
                    self.name,
                    revision=commit,
                    token=self.token,
                    cache_dir=self.cache_dir,
                    allow_patterns=[glob.escape(name) for name in names],
                )
            )
        return Path(folder)

    def _remember(self, folder: Path, commit: str) -> None:
        """Note in the cache which commit the branch or tag was, as the library does when it is asked by branch."""
        note = folder.parents[1] / "refs" / (self.revision or "main")
        if self._is_pinned or ".." in note.parts:
            return
        with suppress(OSError):  # a cache that cannot be written serves all the same
            note.parent.mkdir(parents=True, exist_ok=True)
            fresh = note.with_name(f"{note.name}.{os.getpid()}")
            fresh.write_text(commit)
            fresh.replace(note)

    def _known(self) -> str:
        from huggingface_hub.constants import HF_HUB_CACHE

        folder = Path(self.cache_dir or HF_HUB_CACHE)
        found = sorted(p.name.removeprefix("models--").replace("--", "/", 1) for p in folder.glob("models--*--*"))
        return f"In the box: {IN_THE_BOX}. Cached: {some(found, most=6) if found else 'nothing'}."

    def _how(self) -> str:
        return f"To fetch: {self}, or elsewhere: hf download {self.name} --local-dir X, then zoo inspect X"

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Errors of huggingface_hub as ours."""
        import httpx2
        from huggingface_hub import errors

        try:
            yield
        except (httpx2.HTTPError, OSError, RuntimeError, errors.HFValidationError) as error:
            wraps = isinstance(error, errors.DryRunError | errors.LocalEntryNotFoundError)
            raise self._told(error.__cause__ if wraps and isinstance(error.__cause__, Exception) else error) from error

    def _told(self, error: Exception) -> ZooError:
        """What an error means to the user; told by its type, never by its text."""
        import httpx2
        from huggingface_hub import errors

        if isinstance(error, errors.HFValidationError):
            return UsageError(f"{clean(self.name)!r} is no name of a repository", why=clean(error))
        if isinstance(error, errors.GatedRepoError):
            hint = f"accept the licence at https://huggingface.co/{self.name}, then: hf auth login"
            return NetworkError(f"{self.name} is gated, and you have no access yet", hint=hint)
        if isinstance(error, errors.RepositoryNotFoundError):
            return NetworkError(f"{self.name} is not on the hub, or is private", hint="if it is private: hf auth login")
        if isinstance(error, errors.RevisionNotFoundError):
            return NetworkError(f"{self.name} has no revision {self.revision or 'main'!r}")
        if isinstance(error, errors.RemoteEntryNotFoundError):
            return CheckpointError(self, "", "the repository lacks a file that it lists")
        if (status := _status(error)) is not None:
            kind = Unreachable if status >= 500 else NetworkError
            return kind(f"{self.name}: the hub answered {status}", hint="try again later" if status >= 500 else "")
        if isinstance(error, errors.OfflineModeIsEnabled | errors.LocalEntryNotFoundError | httpx2.TransportError):
            return Unreachable(f"offline, and {self.name} is not in the cache", why=self._known(), hint=self._how())
        return NetworkError(f"{self.name} was not fetched: {clean(getattr(error, 'strerror', None) or error)}")


def parse_uri(text: str) -> tuple[str, str | None, str]:
    """Name, revision and path of hf://org/name@rev/path. Raises UsageError for what is no address of a model."""
    from huggingface_hub import parse_hf_uri
    from huggingface_hub.errors import HfUriError

    try:
        uri = parse_hf_uri(text)
    except (HfUriError, ValueError) as error:
        raise UsageError(f"{clean(text)!r} is no address on the hub", why="hf://org/name@revision/path") from error
    if uri.type != "model":
        raise UsageError(f"{clean(text)!r} is a {uri.type}, not a model")
    return uri.id, uri.revision, uri.path_in_repo.strip("/")


def _check_content(path: Path) -> None:
    """Large files lie in the cache under their sha256, which the hub told before they came."""
    name = path.resolve().name
    if len(name) == 64 and sha256_of(path) != name:
        hint = f"remove {path.resolve()} and fetch it again"
        raise CheckpointError(path, "", "is not the file that the hub announced: its sha256 differs", hint=hint)


def _tried(call: Callable[[], T]) -> T:
    """`call()`, again after a while where the hub says that it has trouble."""
    from huggingface_hub.errors import HfHubHTTPError

    for pause in PAUSES:
        try:
            return call()
        except HfHubHTTPError as error:
            if (_status(error) or 0) < 500:
                raise
            time.sleep(pause)
    return call()


def _status(error: Exception | None) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)
