"""What the event loop gets from the worker, and how it learns that a client has gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from starlette.requests import Request as HTTPRequest

from zoo.errors import ZooError
from zoo.generation.batching import Growth, Request
from zoo.serving.roster import Volume
from zoo.serving.worker import Arrival, Worker


class ClientGone(Exception):
    """Nobody is there to be answered."""


class News:
    """What the worker tells of one arrival, batch by batch; to leave it is to cancel what is not done."""

    def __init__(
        self,
        worker: Worker,
        volume: Volume,
        make: Callable[[Any], Any],
        *,
        is_text: bool = True,
        is_streamed: bool = False,
    ) -> None:
        """Raises QueueFull where the worker takes no more."""
        self._queue: asyncio.Queue[list[Any]] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def tell(news: list[Any]) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._queue.put_nowait, news)

        self.arrival = Arrival(volume, make, tell, is_text, is_streamed)
        worker.submit(self.arrival)

    def close(self) -> None:
        """Free the rows of whatever is not done."""
        self.arrival.cancel()

    async def next(self, request: HTTPRequest | None = None) -> list[Any]:
        """The next batch. Raises the error in it, and ClientGone if the client of `request` goes before."""
        if request is None:
            return _checked(await self._queue.get())
        news, gone = asyncio.ensure_future(self._queue.get()), asyncio.ensure_future(_gone(request))
        try:
            await asyncio.wait((news, gone), return_when=asyncio.FIRST_COMPLETED)
            if not news.done():
                raise ClientGone
            return _checked(news.result())
        finally:
            news.cancel()
            gone.cancel()

    async def pieces(
        self, first: Sequence[Growth], num_open: int, request: HTTPRequest | None = None
    ) -> AsyncIterator[tuple[int, Growth]]:
        """The number of each piece's prompt, and the piece, until so many texts are done."""
        news: Sequence[Growth] = first
        numbers: dict[Request, int] = {}
        while True:
            if len(numbers) < len(self.arrival.requests):
                numbers = {asked: number for number, asked in enumerate(self.arrival.requests)}
            for piece in news:
                num_open -= piece.finish_reason is not None
                yield numbers[piece.request], piece
            if num_open == 0:
                return
            news = await self.next(request)


def _checked(news: list[Any]) -> list[Any]:
    for one in news:
        if isinstance(one, ZooError):
            raise one
        if isinstance(one, Growth) and one.error is not None:
            raise one.error
    return news


async def _gone(request: HTTPRequest) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
