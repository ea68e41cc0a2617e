"""What we ask huggingface_hub for, with its errors told in our words; hub_upload.py is what we send through it.

No other module imports that library. HF_HOME, HF_TOKEN, HF_HUB_OFFLINE and HF_ENDPOINT are its to read, not ours.
"""

from __future__ import annotations

import glob
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from zoo.errors import CheckpointError, NetworkError, UsageError, ZooError, clean, did_you_mean
from zoo.hub.listing import HubFile

T = TypeVar("T")
PAUSES = (1.0, 3.0)  # seconds before the second and the third try, where the hub has trouble


class Unreachable(NetworkError):
    """Nobody answered, or the hub has trouble of its own: what is in the cache may do."""


class Absent(NetworkError):
    """The hub has no such repository, or none that the asker may see."""


@dataclass(frozen=True)
class HubClient:
    """Asks for one repository, as somebody, with a cache. None: the user's own token and cache."""

    name: str
    token: str | bool | None = None
    cache_dir: str | Path | None = None

    def commit_of(self, revision: str) -> str:
        """The commit that a branch or tag stands for now."""
        from huggingface_hub import HfApi

        with self.errors(revision):
            found = _tried(lambda: HfApi(token=self.token).model_info(self.name, revision=revision))
        if not found.sha:
            raise NetworkError(f"{self.name}: the hub names no commit")
        return found.sha

    def branches(self) -> dict[str, str]:
        """Every branch and its commit now."""
        from huggingface_hub import HfApi

        with self.errors(None):
            refs = _tried(lambda: HfApi(token=self.token).list_repo_refs(self.name))
        return {ref.name: ref.target_commit for ref in refs.branches}

    def is_private(self) -> bool:
        """Whether only its owners see the repository."""
        from huggingface_hub import HfApi

        with self.errors(None):
            return bool(_tried(lambda: HfApi(token=self.token).model_info(self.name)).private)

    def files(self, commit: str) -> list[HubFile]:
        """Every file of the repository; asks nobody where the cache knows. Whether they are cached is not looked up."""
        from huggingface_hub import HfApi, get_cached_repo_tree
        from huggingface_hub.errors import CachedRepoTreeNotFoundError
        from huggingface_hub.hf_api import RepoFile

        def ask() -> list[RepoFile]:
            tree = HfApi(token=self.token).list_repo_tree(self.name, recursive=True, revision=commit)
            return [entry for entry in tree if isinstance(entry, RepoFile)]

        with self.errors(commit):
            try:
                entries = get_cached_repo_tree(self.name, revision=commit, cache_dir=self.cache_dir)
            except CachedRepoTreeNotFoundError:
                entries = _tried(ask)
        return [
            HubFile(entry.path, entry.size, False, entry.lfs.sha256 if entry.lfs else "", entry.blob_id or "")
            for entry in entries
        ]

    def is_cached(self, commit: str, file: str) -> bool:
        """Whether the file is on this machine."""
        from huggingface_hub import try_to_load_from_cache

        return isinstance(try_to_load_from_cache(self.name, file, self.cache_dir, commit), str)

    def download(self, commit: str, files: Sequence[str]) -> Path:
        """The snapshot's folder with these files in it."""
        from huggingface_hub import snapshot_download  # hf_hub_download takes 23 s to see that nobody answers

        patterns = [glob.escape(name) for name in files]
        with self.errors(commit):
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

        with self.errors(revision):
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
    def errors(self, revision: str | None) -> Iterator[None]:
        """Tell the library's errors as ours."""
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
            return Absent(f"{self.name} is not on the hub, or is private", hint="if it is private: hf auth login")
        if isinstance(error, errors.RevisionNotFoundError):
            return NetworkError(f"{self.name} has no revision {clean(revision)!r}", why=self._nearest(revision or ""))
        if isinstance(error, errors.RemoteEntryNotFoundError):
            return CheckpointError(self.name, "", "the repository lacks a file that it lists")
        if (status := _status(error)) is not None:
            kind = Unreachable if status >= 500 else NetworkError
            return kind(f"{self.name}: the hub answered {status}", hint="try again later" if status >= 500 else "")
        if isinstance(error, errors.OfflineModeIsEnabled | errors.LocalEntryNotFoundError | httpx2.TransportError):
            is_forbidden = isinstance(error, errors.OfflineModeIsEnabled)
            return Unreachable(f"{self.name}: the hub cannot be reached" + is_forbidden * ": HF_HUB_OFFLINE is set")
        return NetworkError(f"{self.name} was not fetched: {clean(getattr(error, 'strerror', None) or error)}")

    def _nearest(self, revision: str) -> str:
        """The branches and tags that `revision` may have meant; nothing where the hub does not list them."""
        from huggingface_hub import HfApi

        with suppress(Exception):  # a hint is not worth an error of its own
            refs = HfApi(token=self.token).list_repo_refs(self.name)
            return did_you_mean(revision, [ref.name for ref in (*refs.branches, *refs.tags)])
        return ""


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
