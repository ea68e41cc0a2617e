"""The application: addresses behind a gate, and every error in the interface's own form."""

from __future__ import annotations

import time
import traceback
from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request as HTTPRequest
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from zoo.errors import ZooError
from zoo.serving.bodies import Gate
from zoo.serving.failures import Refusal, response_of
from zoo.serving.page import POLICY, page
from zoo.serving.roster import Roster
from zoo.serving.routes import Routes
from zoo.serving.waiting import ClientGone
from zoo.serving.worker import Worker

Endpoint = Callable[[HTTPRequest], Awaitable[Response]]
OPEN = ("/", "/health")  # to who has no key


def application(shelf: Roster, worker: Worker, *, key: str | None = None, host: str = "127.0.0.1") -> Starlette:
    """The addresses of these models, for who has the key, if there is one."""
    routes, gate = Routes(shelf, worker, int(time.time())), Gate(key, host, shelf.bounds)
    html = page([name for name, volume in shelf.volumes.items() if volume.embedder is None])

    async def shown(request: HTTPRequest) -> Response:
        return HTMLResponse(html, headers={"Content-Security-Policy": POLICY, "X-Frame-Options": "DENY"})

    def guarded(path: str, endpoint: Endpoint) -> Endpoint:
        async def answer(request: HTTPRequest) -> Response:
            try:
                gate.check(request)
                if path not in OPEN:
                    gate.check_key(request)
                response = await endpoint(request)
            except ClientGone:
                response = Response(status_code=499)  # which nobody reads
            except ZooError as error:
                response = response_of(error, shelf.bounds.retry_seconds)
            except Exception as error:
                traceback.print_exc()
                response = response_of(Refusal(500, f"{type(error).__name__} in zoo", kind="server_error"))
            routes.measures.requests[path, response.status_code] += 1
            return response

        return answer

    addresses: list[tuple[str, str, Endpoint]] = [
        ("GET", "/", shown), ("GET", "/health", routes.health), ("GET", "/metrics", routes.metrics),
        ("GET", "/v1/models", routes.models), ("GET", "/v1/models/{name:path}", routes.model),
        ("POST", "/v1/completions", routes.completions), ("POST", "/v1/chat/completions", routes.chat),
        ("POST", "/v1/embeddings", routes.embeddings), ("POST", "/tokenize", routes.tokenize),
    ]  # fmt: skip
    table = [Route(path, guarded(path, endpoint), methods=[method]) for method, path, endpoint in addresses]
    return Starlette(routes=table, exception_handlers={HTTPException: _no_such_address})


async def _no_such_address(request: HTTPRequest, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    what = "there is nothing at this address" if error.status_code == 404 else "the address takes another method"
    return response_of(Refusal(error.status_code, what, hint="GET /v1/models, POST /v1/chat/completions, ..."))
