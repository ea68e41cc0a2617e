"""A repository on the Hugging Face hub and its copies in the cache.

What is fetched is what a checkpoint consists of, at one commit; and the content of what is fetched is checked, where
huggingface_hub checks only the size.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from zoo.errors import CheckpointError, NetworkError, ZooWarning, some
from zoo.files.regular import sha256_of, size_of
from zoo.hub.client import HubClient
from zoo.hub.errors import Trouble, Unreachable
from zoo.hub.listing import HubFile, choose, is_text, texts

IN_THE_BOX = "tiny"
_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True)
class Repository:
    """One repository at one revision."""

    client: HubClient
    revision: str | None = None  # branch, tag or commit; None: main
    path: str = ""  # the folder or file within it

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        return f"hf://{self.client.name}{revision}" + (f"/{self.path}" if self.path else "")

    @property
    def is_pinned(self) -> bool:
        """Whether the revision is a commit, which never moves."""
        return self.revision is not None and len(self.revision) == 40 and set(self.revision) <= _HEX

    def commit(self) -> str:
        """The commit that the revision stands for now."""
        if self.is_pinned and self.revision:
            return self.revision
        return self.client.commit_of(self.revision or "main")

    def fetch(self, *, allow_pickle: bool) -> tuple[Path, str]:
        """The path on this machine and its commit; from the cache, and saying so, where the hub cannot be reached."""
        try:
            commit = self.commit()
            files = self.wanted(commit, allow_pickle=allow_pickle)
            folder = self.client.download(commit, [file.name for file in files])
        except Unreachable as error:
            return self._despite(error, allow_pickle)
        check_content(folder, (file for file in files if not file.is_cached))
        self._remember(folder, commit)
        return folder / self.path, commit

    def settle(self, *, allow_pickle: bool) -> tuple[str, list[HubFile]]:
        """The commit, and the files of its checkpoint with card and licence, none of them fetched yet.

        Where the hub cannot be reached: the cached commit, saying so, without the texts that the cache lacks.
        """
        try:
            commit, is_offline = self.commit(), False
        except Unreachable as error:
            commit, is_offline = self._despite(error, allow_pickle)[1], True
        try:
            files = self.wanted(commit, allow_pickle=allow_pickle, with_texts=True)
        except Unreachable as error:
            raise self._absent(error, is_partial=True) from error
        return commit, [file for file in files if file.is_cached or not is_offline or not is_text(file.name)]

    def bring(self, commit: str, files: list[HubFile]) -> Path:
        """The snapshot's folder with these files in it, each of them checked.

        Raises NetworkError where one is not to be had, CheckpointError for one that the hub did not announce so.
        """
        try:
            folder = self.client.download(commit, [file.name for file in files])
        except Unreachable as error:
            raise self._absent(error, is_partial=True) from error
        check_content(folder, files)
        self._remember(folder, commit)
        return folder

    def wanted(self, commit: str, *, allow_pickle: bool, with_texts: bool = False) -> list[HubFile]:
        """The files that make up the checkpoint, the index of its weights being fetched to know them."""
        files = self.client.files(commit)
        listed = [file.name for file in files]
        fresh: set[str] = set()

        def read(name: str) -> Path:
            if not self.client.is_cached(commit, name):
                fresh.add(name)
            return self.client.download(commit, [name]) / name

        names = choose(str(self), listed, self.path, allow_pickle=allow_pickle, read=read)
        if with_texts:
            names |= texts(listed, self.path if self.path not in listed else self.path.rpartition("/")[0])
        here = {name for name in names - fresh if self.client.is_cached(commit, name)}
        return [replace(file, is_cached=file.name in here) for file in files if file.name in names]

    def cached(self) -> tuple[Path, str]:
        """The path in the cache and its commit, without connecting. Raises NetworkError where it is not there.

        Whether all files are there is seen when their headers are read.
        """
        if folder := self.client.cached_folder(self.revision):
            return folder / self.path, folder.name
        raise NetworkError(f"{self.client.name} is not in the cache", why=self._known(), hint=self._how())

    def _despite(self, error: Unreachable, allow_pickle: bool) -> tuple[Path, str]:
        """What the cache has where the hub could not be asked."""
        folder = self.client.cached_folder(self.revision)
        if folder is None or self._is_partial(folder.name, allow_pickle):
            raise self._absent(error, is_partial=folder is not None) from error
        if not self.is_pinned:
            what = f"{error.what}: {self} is the cached commit {folder.name}; there may be a newer one"
            warnings.warn(what, ZooWarning, stacklevel=4)
        return folder / self.path, folder.name

    def _is_partial(self, commit: str, allow_pickle: bool) -> bool:
        try:
            return not all(file.is_cached for file in self.wanted(commit, allow_pickle=allow_pickle))
        except Unreachable:
            return False  # nobody knows; what is missing shows when the headers are read

    def _remember(self, folder: Path, commit: str) -> None:
        """Note in the cache which commit the branch or tag was, as the library does when it is asked by branch."""
        note = folder.parents[1] / "refs" / (self.revision or "main")
        if self.is_pinned or ".." in note.parts:
            return
        with suppress(OSError):  # a cache that cannot be written serves all the same
            note.parent.mkdir(parents=True, exist_ok=True)
            fresh = folder.parents[1] / f".ref.{os.getpid()}.incomplete"  # see hub_folder
            fresh.write_text(commit)
            fresh.replace(note)

    def _absent(self, error: Unreachable, *, is_partial: bool) -> Unreachable:
        lacking = f"{self.client.name} is not in the cache" + (", or not all of it" if is_partial else "")
        if isinstance(error, Trouble):
            why = "\n".join(filter(None, (error.why, f"{lacking}. {self._known()}")))
            return Trouble(error.what, why=why, hint=error.hint)
        return Unreachable(f"offline, and {lacking}", why=f"{error.what}\n{self._known()}", hint=self._how())

    def _known(self) -> str:
        names = self.client.cached_names()
        return f"In the box: {IN_THE_BOX}. Cached: {some(names, most=6) if names else 'nothing'}."

    def _how(self) -> str:
        return f"To fetch: {self}, or elsewhere: hf download {self.client.name} --local-dir X, then zoo inspect X"


def check_content(folder: Path, files: Iterable[HubFile]) -> None:
    """Raise CheckpointError for the first file whose size or hash is not what the hub tells."""
    for file in files:
        path = folder / file.name
        hint = f"remove {path.resolve()} and fetch it again"
        if (size := size_of(path)) != file.nbytes:
            what = f"has {size:,} bytes, but the hub said {file.nbytes:,}"
            raise CheckpointError(path, "", what, hint=hint)
        if file.sha256 and sha256_of(path) != file.sha256:
            what = "is not the file that the hub named: its sha256 differs"
            raise CheckpointError(path, "", what, hint=hint)
        if not file.sha256 and file.oid and git_oid(path.read_bytes()) != file.oid:
            what = "is not the file that the hub named: its hash differs"
            raise CheckpointError(path, "", what, hint=hint)


def git_oid(data: bytes) -> str:
    """Git's name of a file with this content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
