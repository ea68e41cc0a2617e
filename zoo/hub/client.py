"""What we ask huggingface_hub for, with its errors told in our words; hub_upload.py is what we send through it.

No other module imports that library. HF_HOME, HF_TOKEN, HF_HUB_OFFLINE and HF_ENDPOINT are its to read, not ours.
"""

from __future__ import annotations

import glob
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

from zoo.errors import NetworkError, UsageError, clean
from zoo.hub.errors import Telling, status_of
from zoo.hub.folder import cache_folder, remove_leftovers
from zoo.hub.guard import COMMIT, guard, is_plain_path
from zoo.hub.listing import HubFile

T = TypeVar("T")
PAUSES = (1.0, 3.0)  # seconds before the second and the third try, where the hub has trouble
MAX_FILES = 100_000  # of a repository


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
        return self.checked_commit(found.sha)

    def branches(self) -> dict[str, str]:
        """Every branch and its commit now."""
        from huggingface_hub import HfApi

        with self.errors(None):
            refs = _tried(lambda: HfApi(token=self.token).list_repo_refs(self.name))
        return {ref.name: self.checked_commit(ref.target_commit) for ref in refs.branches}

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
            return [entry for entry in islice(tree, MAX_FILES + 1) if isinstance(entry, RepoFile)]

        with self.errors(commit):
            try:
                entries = get_cached_repo_tree(self.name, revision=commit, cache_dir=self.cache_dir)
            except CachedRepoTreeNotFoundError:
                entries = _tried(ask)
            found = [
                HubFile(entry.path, entry.size, False, entry.lfs.sha256 if entry.lfs else "", entry.blob_id or "")
                for entry in entries
            ]
        return self._checked(found)

    def is_cached(self, commit: str, file: str) -> bool:
        """Whether the file is on this machine."""
        from huggingface_hub import try_to_load_from_cache

        return isinstance(try_to_load_from_cache(self.name, file, self.cache_dir, commit), str)

    def download(self, commit: str, files: Sequence[str]) -> Path:
        """The snapshot's folder with these files in it."""
        from huggingface_hub import snapshot_download  # hf_hub_download takes 23 s to see that nobody answers

        patterns = [glob.escape(name) for name in files]
        remove_leftovers(self.cache, self.name)
        with self.errors(commit, files):
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
        return sorted(p.name.removeprefix("models--").replace("--", "/", 1) for p in self.cache.glob("models--*--*"))

    @property
    def cache(self) -> Path:
        """The cache's folder."""
        return Path(self.cache_dir).expanduser() if self.cache_dir else cache_folder()

    @contextmanager
    def errors(self, revision: str | None, files: Sequence[str] = ()) -> Iterator[None]:
        """Tell the library's errors as ours, and look at answers before it does; `files` are being fetched."""
        import httpx2
        from huggingface_hub import errors

        guard()
        try:
            yield
        except (httpx2.HTTPError, OSError, RuntimeError, errors.HFValidationError) as error:
            cause = error.__cause__  # what snapshot_download met before it looked into the cache in vain
            is_wrapped = isinstance(error, errors.LocalEntryNotFoundError) and isinstance(cause, Exception)
            told = cause if is_wrapped else error
            missing = [name for name in files if isinstance(told, OSError) and not self.is_cached(revision or "", name)]
            raise Telling(self.name, self.token, self.cache, missing).of(told, revision) from error
        except (TypeError, LookupError, AttributeError, ValueError, AssertionError) as error:  # while it reads JSON
            what = f"{self.name}: the hub's answer does not have the expected form"
            raise NetworkError(what, why=clean(f"{type(error).__name__}: {error}", 200)) from error

    def checked_commit(self, found: object) -> str:
        """A commit that the hub names. Raises NetworkError for what is none: it becomes a folder's name."""
        if not isinstance(found, str) or not COMMIT.fullmatch(found):
            raise NetworkError(f"{self.name}: the hub names the commit {clean(repr(found))}, which is not one")
        return found

    def _checked(self, files: list[HubFile]) -> list[HubFile]:
        """A listing, unless it lists what can be no file of a repository; it may come from the cache."""
        for file in files:
            if not is_plain_path(file.name) or type(file.nbytes) is not int or file.nbytes < 0:
                raise NetworkError(f"{self.name}: the hub lists {clean(repr(file.name))} of {clean(file.nbytes)} bytes")
        if len({file.name for file in files}) < len(files):
            raise NetworkError(f"{self.name}: the hub lists a file twice")
        if len(files) > MAX_FILES:
            raise NetworkError(f"{self.name}: the hub lists more than {MAX_FILES:,} files")
        return files


def parse_uri(text: str) -> tuple[str, str | None, str]:
    """Name, revision and path of hf://org/name@rev/path. Raises UsageError for what is no address of a model."""
    from huggingface_hub import parse_hf_uri
    from huggingface_hub.errors import HfUriError

    try:
        uri = parse_hf_uri(text)
    except (HfUriError, ValueError) as error:
        raise UsageError(f"{clean(text)!r} is not an address on the hub", why="hf://org/name@revision/path") from error
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
            if (status_of(error) or 0) < 500:
                raise
            time.sleep(pause)
    return call()
