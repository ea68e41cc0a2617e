"""What the errors of huggingface_hub mean to a user, known by their types and never by their text."""

from __future__ import annotations

import errno
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from zoo.errors import CheckpointError, NetworkError, UsageError, ZooError, clean, did_you_mean, some

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
HINTS = {
    401: "log in: hf auth login",
    403: "log in with an account that may read it: hf auth login",
    429: "wait a while, or log in for a higher limit: hf auth login",
    500: "try again later",
}


class Unreachable(NetworkError):
    """Nobody answered, or the hub has trouble of its own: what is in the cache may do."""


class Trouble(Unreachable):
    """The hub answers, with a status that speaks of trouble, or not to the end."""


class Absent(NetworkError):
    """The hub has no such repository, or none that the asker may see."""


@dataclass(frozen=True)
class Telling:
    """The errors of one repository, told in our words."""

    name: str
    token: str | bool | None
    cache: Path
    missing: Sequence[str] = ()  # files that are being fetched and have not come

    def of(self, error: BaseException | None, revision: str | None) -> ZooError:
        """What an error means to the user; known by its type, never by its text."""
        import httpx2
        from huggingface_hub import errors

        if isinstance(error, errors.HFValidationError):
            return UsageError(f"{clean(self.name)!r} is not the name of a repository", why=clean(error))
        if isinstance(error, errors.GatedRepoError):
            hint = f"accept the licence at https://huggingface.co/{self.name}, then: hf auth login"
            return NetworkError(f"{self.name} is gated, and you do not have access yet", hint=hint)
        if isinstance(error, errors.RepositoryNotFoundError):
            return Absent(f"{self.name} is not on the hub, or is private", hint="if it is private: hf auth login")
        if isinstance(error, errors.RevisionNotFoundError):
            return NetworkError(f"{self.name} has no revision {clean(revision)!r}", why=self._nearest(revision or ""))
        where = ": ".join(filter(None, (self.name, _file_of(error))))
        if isinstance(error, errors.RemoteEntryNotFoundError):
            return CheckpointError(where, "", "the hub answered 404: the repository lacks a file that it lists")
        if (status := status_of(error)) is not None:
            kind = Trouble if status >= 500 else NetworkError
            return kind(f"{where}: the hub answered {status}", hint=HINTS.get(min(status, 500), ""))
        unreached = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError, errors.LocalEntryNotFoundError)
        if isinstance(error, (*unreached, errors.OfflineModeIsEnabled)):
            is_forbidden = isinstance(error, errors.OfflineModeIsEnabled)
            return Unreachable(f"{self.name}: the hub cannot be reached" + is_forbidden * ": HF_HUB_OFFLINE is set")
        if isinstance(error, httpx2.TransportError):
            return Trouble(
                f"{where}: the hub stopped in the middle of its answer", why=clean(error, 200), hint=HINTS[500]
            )
        if isinstance(error, OSError) and error.errno:
            return self._unwritten(error)
        return NetworkError(f"{where} was not fetched: {clean(error, 300)}")

    def _unwritten(self, error: OSError) -> NetworkError:
        """What the machine would not take: a full disk, a folder that may not be written."""
        where = f"{self.name}: {clean(some(self.missing), 200)}" if self.missing else self.name
        hint = "free some space there, or set HF_HOME to a folder on another disk" if error.errno in NO_SPACE else ""
        return NetworkError(f"{where}: {self.cache} cannot store it: {error.strerror}", hint=hint)

    def _nearest(self, revision: str) -> str:
        """The branches and tags that `revision` may have meant; nothing where the hub does not list them."""
        from huggingface_hub import HfApi

        with suppress(Exception):  # a hint is not worth an error of its own
            refs = HfApi(token=self.token).list_repo_refs(self.name)
            return did_you_mean(revision, [ref.name for ref in (*refs.branches, *refs.tags)])
        return ""


def status_of(error: BaseException | None) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


def _file_of(error: BaseException | None) -> str:
    """The file that was asked for when an error came, or ''."""
    try:
        request = getattr(getattr(error, "response", error), "request", None)
    except RuntimeError:  # none belongs to it
        return ""
    found = re.search(r"/resolve/[^/]+/(.+)", request.url.path) if request is not None else None
    return clean(unquote(found[1])) if found else ""
