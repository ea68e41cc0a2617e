"""What went wrong, in the form in which clients of the interface expect it."""

from __future__ import annotations

import re
from typing import Any

from starlette.responses import JSONResponse

from zoo.errors import UsageError, ZooError
from zoo.generation.batching import QueueFull


class BadField(UsageError):
    """A field of a request that cannot be, by its name."""

    def __init__(self, field: str, what: str, *, why: str = "", hint: str = "") -> None:
        super().__init__(what, why=why, hint=hint)
        self.field = field


class Refusal(ZooError):
    """A request that is answered with a status of its own."""

    def __init__(self, status: int, what: str, *, kind: str = "invalid_request_error", code: str | None = None,
                 hint: str = "") -> None:  # fmt: skip
        super().__init__(what, hint=hint)
        self.status, self.kind, self.code = status, kind, code


def body_of(error: ZooError) -> dict[str, Any]:
    """The error as an object of the interface; the message says what zoo would print."""
    field = getattr(error, "field", None)
    if field is None and isinstance(error, UsageError) and (named := re.match(r"(\w+)=", error.what)):
        field = named[1]
    code = getattr(error, "code", None) or ("rate_limit_exceeded" if isinstance(error, QueueFull) else None)
    kind = getattr(error, "kind", None) or (
        "rate_limit_error"
        if isinstance(error, QueueFull)
        else "invalid_request_error"
        if status_of(error) < 500
        else "server_error"
    )
    message = str(error).encode("utf-8", "replace").decode()
    return {"error": {"message": message, "type": kind, "param": field, "code": code}}


def status_of(error: ZooError) -> int:
    """The HTTP status that an error is answered with."""
    if isinstance(error, Refusal):
        return error.status
    if isinstance(error, QueueFull):
        return 429
    return 400  # what a request can cause is the request's; what is nobody's is a Refusal of 500


def response_of(error: ZooError, retry_seconds: int = 1) -> JSONResponse:
    """The whole answer."""
    status = status_of(error)
    headers = {"Retry-After": str(retry_seconds)} if status in (429, 503) else None
    return JSONResponse(body_of(error), status, headers)
