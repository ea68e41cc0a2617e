"""The only module that imports huggingface_hub: what we ask of it, with its errors told in our words."""

from __future__ import annotations

import glob
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from zoo.errors import CheckpointError, NetworkError, UsageError, ZooError, clean

T = TypeVar("T")
PAUSES = (1.0, 3.0)  # seconds before the second and the third try, where the hub has trouble


class Unreachable(NetworkError):
    """Nobody answered, or the hub has trouble of its own: what is in the cache may do."""


@dataclass(frozen=True)
class HubClient:
    """Asks for one repository, as somebody, with a cache. None: the user's own token and cache."""

    name: str
    token: str | bool | None = None
    cache_dir: str | Path | None = None

    def commit_of(self, revision: str) -> str:
        """The commit that a branch or tag stands for now."""
        from huggingface_hub import HfApi

        with self._errors(revision):
            found = _tried(lambda: HfApi(token=self.token).model_info(self.name, revision=revision))
        if not found.sha:
            raise NetworkError(f"{self.name}: the hub names no commit")
        return found.sha

    def sizes(self, commit: str) -> dict[str, int]:
        """Every file of the repository and its bytes; asks nobody where the cache knows."""
        from huggingface_hub import HfApi, get_cached_repo_tree
        from huggingface_hub.errors import CachedRepoTreeNotFoundError
        from huggingface_hub.hf_api import RepoFile

        def ask() -> list[RepoFile]:
            tree = HfApi(token=self.token).list_repo_tree(self.name, recursive=True, revision=commit)
            return [entry for entry in tree if isinstance(entry, RepoFile)]

        with self._errors(commit):
            try:
                entries = get_cached_repo_tree(self.name, revision=commit, cache_dir=self.cache_dir)
            except CachedRepoTreeNotFoundError:
                entries = _tried(ask)
        return {entry.path: entry.size for entry in entries}

    def is_cached(self, commit: str, file: str) -> bool:
        """Whether the file is on this machine."""
        from huggingface_hub import try_to_load_from_cache

        return isinstance(try_to_load_from_cache(self.name, file, self.cache_dir, commit), str)

    def download(self, commit: str, files: Sequence[str]) -> Path:
        """The snapshot's folder with these files in it."""
        from huggingface_hub import snapshot_download  # hf_hub_download takes 23 s to see that nobody answers

        patterns = [glob.escape(name) for name in files]
        with self._errors(commit):
            folder = _tried(
                lambda: snapshot_download(
                    self.name, revision=commit, token=self.token, cache_dir=self.cache_dir, allow_patterns=patterns
                )
            )
        return Path(folder)

    def cached_folder(self, revision: str | None) -> Path | None:
        """The snapshot's folder if it is in the cache, without connecting; some of its files may be missing."""
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError

        with self._errors(revision):
            try:
                folder = snapshot_download(
                    self.name,
                    revision=revision,
                    cache_dir=self.cache_dir,
                    allow_patterns=[],  # so that it does not ask whether all files are there
                    local_files_only=True,
                )
            except LocalEntryNotFoundError:
                return None
        return Path(folder)

    def cached_names(self) -> list[str]:
        """The repositories in the cache."""
        from huggingface_hub.constants import HF_HUB_CACHE

        folder = Path(self.cache_dir or HF_HUB_CACHE)
        return sorted(p.name.removeprefix("models--").replace("--", "/", 1) for p in folder.glob("models--*--*"))

    @contextmanager
    def _errors(self, revision: str | None) -> Iterator[None]:
        import httpx2
        from huggingface_hub import errors

        try:
            yield
        except (httpx2.HTTPError, OSError, RuntimeError, errors.HFValidationError) as error:
            cause = error.__cause__  # what snapshot_download met before it looked into the cache in vain
            is_wrapped = isinstance(error, errors.LocalEntryNotFoundError) and isinstance(cause, Exception)
            raise self._told(cause if is_wrapped else error, revision) from error

    def _told(self, error: BaseException | None, revision: str | None) -> ZooError:
        """What an error means to the user; known by its type, never by its text."""
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
            return NetworkError(f"{self.name} has no revision {clean(revision)!r}")
        if isinstance(error, errors.RemoteEntryNotFoundError):
            return CheckpointError(self.name, "", "the repository lacks a file that it lists")
        if (status := _status(error)) is not None:
            kind = Unreachable if status >= 500 else NetworkError
            return kind(f"{self.name}: the hub answered {status}", hint="try again later" if status >= 500 else "")
        if isinstance(error, errors.OfflineModeIsEnabled | errors.LocalEntryNotFoundError | httpx2.TransportError):
            return Unreachable(f"{self.name}: the hub cannot be reached")
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


def _status(error: BaseException | None) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)
