"""Connections, so many at a time, each with so long to say what it wants."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from zoo.serving.bounds import Bounds

LINGER_SECONDS = 0.5  # so that who still sends has time to read the answer


def protocol(bounds: Bounds) -> type[asyncio.Protocol]:
    """What uvicorn is to speak by."""

    class BoundedProtocol(H11Protocol):
        waiting: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if len(self.connections) > bounds.connections:
                transport.abort()
            else:
                self._watch()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self.conn.their_state is h11.SEND_BODY:  # answered before the body was whole: the rest is not waited for
                self.loop.call_later(LINGER_SECONDS, self.transport.abort)
            else:
                self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            self._unwatch()
            super().connection_lost(exc)

        def _watch(self) -> None:
            """Wait for headers while there are none; what is said meanwhile in single letters gains no time."""
            if self.conn.their_state is not h11.IDLE:
                self._unwatch()
            elif self.waiting is None:
                self.waiting = self.loop.call_later(bounds.header_seconds, self._give_up)

        def _unwatch(self) -> None:
            if self.waiting is not None:
                self.waiting.cancel()
                self.waiting = None

        def _give_up(self) -> None:
            self.waiting = None
            if self.conn.their_state is h11.IDLE:
                self.transport.abort()

    return BoundedProtocol
