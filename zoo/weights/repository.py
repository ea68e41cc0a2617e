"""A repository on the Hugging Face hub and its copies in the cache.

What is fetched is what a checkpoint consists of, at one commit; and the content of what is fetched is checked, where
huggingface_hub checks only the size.
"""

from __future__ import annotations

import os
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from zoo.errors import CheckpointError, NetworkError, some
from zoo.weights.files import sha256_of
from zoo.weights.hub_client import HubClient, Unreachable
from zoo.weights.hub_files import HubFile, choose

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
        for file in files:
            if not file.is_cached:
                _check_content(folder / file.name)
        self._remember(folder, commit)
        return folder / self.path, commit

    def wanted(self, commit: str, *, allow_pickle: bool) -> list[HubFile]:
        """The files that make up the checkpoint, the index of its weights being fetched to know them."""
        sizes = self.client.sizes(commit)
        names = choose(
            str(self),
            list(sizes),
            self.path,
            allow_pickle=allow_pickle,
            read=lambda name: self.client.download(commit, [name]) / name,
        )
        return [HubFile(n, size, self.client.is_cached(commit, n)) for n, size in sizes.items() if n in names]

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
            what = f"offline, and {self.client.name} is not in the cache" + (", or not all of it" if folder else "")
            raise Unreachable(what, why=f"{error.what}\n{self._known()}", hint=self._how()) from error
        if not self.is_pinned:
            what = f"{error.what}: {self} is the cached commit {folder.name}, and may have moved since"
            warnings.warn(what, stacklevel=4)
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
            fresh = note.with_name(f"{note.name}.{os.getpid()}")
            fresh.write_text(commit)
            fresh.replace(note)

    def _known(self) -> str:
        names = self.client.cached_names()
        return f"In the box: {IN_THE_BOX}. Cached: {some(names, most=6) if names else 'nothing'}."

    def _how(self) -> str:
        return f"To fetch: {self}, or elsewhere: hf download {self.client.name} --local-dir X, then zoo inspect X"


def _check_content(path: Path) -> None:
    """Large files lie in the cache under their sha256, which the hub told before they came."""
    name = path.resolve().name
    if len(name) == 64 and set(name) <= _HEX and sha256_of(path) != name:
        hint = f"remove {path.resolve()} and fetch it again"
        raise CheckpointError(path, "", "is not the file that the hub announced: its sha256 differs", hint=hint)
