"""The server process: listens, and ends within a bound once it is told to."""

from __future__ import annotations

import socket

import anyio
import uvicorn
from starlette.concurrency import run_in_threadpool

from zoo.errors import UsageError
from zoo.serving.application import application
from zoo.serving.connections import protocol
from zoo.serving.roster import Roster
from zoo.serving.worker import Worker


class Server(uvicorn.Server):
    """uvicorn, which lets the worker finish what it does, within the bound, before it closes connections."""

    def __init__(self, shelf: Roster, *, host: str, port: int, key: str | None = None) -> None:
        self.shelf, self.worker = shelf, Worker(shelf)
        bounds = shelf.bounds
        app = application(shelf, self.worker, key=key, host=host)
        super().__init__(
            uvicorn.Config(
                app, host=host, port=port, http=protocol(bounds), ws="none", lifespan="off", log_config=None,
                access_log=False, proxy_headers=False, server_header=False, loop="asyncio",
                h11_max_incomplete_event_size=bounds.header_bytes,
                timeout_keep_alive=int(bounds.header_seconds) + 1, timeout_graceful_shutdown=2,
            )
        )  # fmt: skip

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and begin to work."""
        await super().startup(sockets)
        self.worker.start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let what is being made be finished within the bound, then close."""
        for server in self.servers:
            server.close()
        with anyio.CancelScope(shield=True):
            await run_in_threadpool(self.worker.end, self.shelf.bounds.grace_seconds)
        await super().shutdown(sockets)


def listening(host: str, port: int) -> socket.socket:
    """A socket at this address. Raises UsageError for one that cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except (OSError, OverflowError) as error:
        sock.close()
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"cannot listen at {host}:{port}: {why}", hint="give another --host or --port") from None
    return sock
