"""What arrives: bodies of bounded size in bounded time, as strict JSON, from whom it may come."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HTTPRequest

from zoo.errors import ZooError
from zoo.files.json_file import parse_json
from zoo.serving.bounds import Bounds
from zoo.serving.failures import Refusal
from zoo.serving.waiting import ClientGone

T = TypeVar("T")
MAX_DEPTH = 48
LITTLE = 16 << 10  # bytes of a body that is read sooner than another thread would begin to
LOOPBACK = {"127.0.0.1", "localhost", "[::1]"}


async def read_by(request: HTTPRequest, bounds: Bounds, read: Callable[[dict[str, Any]], T]) -> T:
    """What `read` makes of a request's fields: here where it is little, else in another thread.

    Raises Refusal for what is too large, too slow or no JSON, and what `read` raises.
    """
    body = await _whole_body(request, bounds)
    is_little = len(body) <= LITTLE and b"image_url" not in body  # a small picture can be a large one, packed
    work = partial(_read, body, read)
    return work() if is_little else await run_in_threadpool(work)


def _read(body: bytes, read: Callable[[dict[str, Any]], T]) -> T:
    return read(_parsed(body))


async def _whole_body(request: HTTPRequest, bounds: Bounds) -> bytes:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refusal(415, "the body is not application/json", hint="set the header Content-Type: application/json")
    length = request.headers.get("content-length", "")
    if length.isdigit() and (len(length) > 15 or int(length) > bounds.body_bytes):
        raise _too_large(bounds)
    try:
        async with asyncio.timeout(bounds.body_seconds):
            return await _body(request, bounds)
    except TimeoutError:
        raise Refusal(408, f"the body did not arrive within {bounds.body_seconds:g} seconds") from None
    except ClientDisconnect:
        raise ClientGone from None


async def _body(request: HTTPRequest, bounds: Bounds) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > bounds.body_bytes:
            raise _too_large(bounds)
    return bytes(body)


def _too_large(bounds: Bounds) -> Refusal:
    return Refusal(413, f"the body is larger than {bounds.body_bytes:,} bytes")


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        return parse_json(body, "the request's body", MAX_DEPTH, allow_infinity=False)
    except ZooError as error:
        raise Refusal(400, str(error), code="invalid_json") from None
    except RecursionError:
        raise Refusal(400, "the request's body: is nested too deep", code="invalid_json") from None


class Gate:
    """Who may ask: those with the key, where there is one, and no page of another site in somebody's browser."""

    def __init__(self, key: str | None, host: str, bounds: Bounds) -> None:
        """`host` is the address that the server listens at."""
        self._header_bytes = bounds.header_bytes
        self._key = None if key is None else key.encode()
        self._hosts = {*LOOPBACK, host.lower()} if host in ("127.0.0.1", "localhost", "::1") else None

    def check(self, request: HTTPRequest) -> None:
        """Raises Refusal for who may not."""
        if sum(len(name) + len(value) for name, value in request.headers.raw) > self._header_bytes:
            raise Refusal(431, f"the headers are larger than {self._header_bytes:,} bytes")
        host = request.headers.get("host", "").lower()
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        if self._hosts is not None and name not in self._hosts:  # a name that was made to point here
            raise Refusal(403, "the request is for another host", hint="ask for 127.0.0.1 or localhost")
        origin = request.headers.get("origin")
        if origin is not None and origin.partition("://")[2].lower() != host:
            raise Refusal(403, "the request comes from a page of another site")

    def check_key(self, request: HTTPRequest) -> None:
        """Raises Refusal without the key."""
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if self._key is None:
            return
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode("utf-8", "replace"), self._key):
            raise Refusal(
                401, "the key is missing or wrong", code="invalid_api_key", hint="send Authorization: Bearer KEY"
            )
