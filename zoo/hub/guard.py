"""What the hub answers, looked at before huggingface_hub reads it: that library makes paths of what it is told.

An ETag names a file of the cache, a commit a folder, a listing everything else. A look beforehand would not do, for the
hub may answer otherwise the second time: so the look is taken at each answer, by a hook of the library's HTTP client.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from zoo.errors import NetworkError, clean

if TYPE_CHECKING:
    import httpx2

MAX_ANSWER = 64 << 20  # bytes of JSON
MAX_PAGES, MAX_PARTS = 1000, 200  # answers to one question: of a listing, and of a file that is broken off
MAX_WAIT = 120  # seconds that the library may be told to wait before it asks again
COMMIT = re.compile(r"[0-9a-f]{40}")
_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_ETAG = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.=+-]{0,199}")


def guard() -> None:
    """See that every answer is looked at, by whatever client the library has been told to use."""
    from huggingface_hub import get_session, set_client_factory

    hooks = get_session().event_hooks["response"]
    if there := [hook for hook in hooks if isinstance(hook, Guard)]:
        there[0].answers.clear()
        return
    make, hook = _factory(), Guard()
    set_client_factory(lambda: _guarded(make(), hook))  # a client that is made again after trouble is guarded as well


class Guard:
    """A hook that looks at each answer."""

    def __init__(self) -> None:
        self.answers = Counter[str]()  # since it was last asked for something, by path

    def __call__(self, response: httpx2.Response) -> None:
        path = response.request.url.path
        self.answers[path] += 1
        if self.answers[path] > (MAX_PAGES if "/api/" in path else MAX_PARTS):
            raise NetworkError(
                f"{clean(path, 200)}: the hub answered {self.answers[path] - 1} times, and never completely"
            )
        look(response)


def look(response: httpx2.Response) -> None:
    """Raise NetworkError for an answer that would lead out of the cache, or that has no end."""
    url, headers = response.request.url, response.headers
    path = clean(url.path, 200)
    if (commit := headers.get("X-Repo-Commit")) is not None and not COMMIT.fullmatch(commit):
        raise NetworkError(f"{path}: the hub names the commit {clean(repr(commit))}, which is not one")
    if "/resolve/" in url.path:
        for name in ("ETag", "X-Linked-ETag"):
            etag = headers.get(name, "-").lstrip("W/").strip('"')  # as the library reads it
            if not _ETAG.fullmatch(etag):
                raise NetworkError(f"{path}: the hub sends the {name} {clean(repr(etag))}, which cannot name a file")
    if response.status_code == 429 and (wait := _wait(headers)) > MAX_WAIT:
        raise NetworkError(f"{path}: the hub answered 429: too many requests, ask again in {wait:,} seconds")
    if "/api/models/" in url.path and response.request.method == "GET" and response.is_success:
        _look_at_json(response, path)


def is_plain_path(path: object) -> bool:
    """Whether a path of a listing leads to a file below the repository, and nowhere else."""
    if not isinstance(path, str) or not path.isprintable() or "\\" in path or len(path) > 1000:
        return False
    return all(part not in ("", ".", "..") for part in path.split("/"))


def _look_at_json(response: httpx2.Response, path: str) -> None:
    response.stream = _bounded(response.stream, path)
    response.read()
    try:
        value = json.loads(response.content)
    except (ValueError, RecursionError):
        raise NetworkError(f"{path}: the hub's answer is not JSON") from None
    if isinstance(value, dict) and (sha := value.get("sha")) is not None and not _is(COMMIT, sha):
        raise NetworkError(f"{path}: the hub names the commit {clean(repr(sha))}, which is not one")
    for entry in value if isinstance(value, list) and "/tree/" in path else []:
        if not isinstance(entry, dict) or not is_plain_path(entry.get("path")):
            told = entry.get("path") if isinstance(entry, dict) else entry
            raise NetworkError(f"{path}: the hub lists {clean(repr(told))}, which is not a file of a repository")
        lfs = entry.get("lfs") or {}
        hashes = [entry.get("oid"), lfs.get("oid") if isinstance(lfs, dict) else lfs, entry.get("xetHash")]
        if wrong := [found for found in hashes if found is not None and not _is(_HASH, found)]:
            raise NetworkError(f"{path}: {clean(entry['path'])} has the hash {clean(repr(wrong[0]))}, which is not one")


def _bounded(stream: Any, path: str) -> Any:
    """The same bytes, as long as they are no more than an answer may have."""
    from httpx2 import SyncByteStream

    class Bounded(SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            left = MAX_ANSWER
            for part in stream:
                if (left := left - len(part)) < 0:
                    raise NetworkError(f"{path}: the hub's answer is longer than {MAX_ANSWER:,} bytes")
                yield part

        def close(self) -> None:
            stream.close()

    return Bounded()


def _wait(headers: Any) -> int:
    told = [headers.get("Retry-After", ""), *re.findall(r"t\s*=\s*(\d+)", headers.get("RateLimit", ""))]
    return max((int(seconds[:12]) for seconds in told if seconds.strip().isdecimal()), default=0)


def _factory() -> Callable[[], httpx2.Client]:
    """What makes the library's clients: somebody else may have told it to use another proxy, say, which is kept."""
    from huggingface_hub.utils import _http

    return getattr(_http, "_GLOBAL_CLIENT_FACTORY", _http.default_client_factory)


def _guarded(client: httpx2.Client, hook: Guard) -> httpx2.Client:
    hooks = client.event_hooks
    client.event_hooks = {**hooks, "response": [*hooks["response"], hook]}
    return client


def _is(pattern: re.Pattern[str], found: object) -> bool:
    return isinstance(found, str) and pattern.fullmatch(found) is not None
