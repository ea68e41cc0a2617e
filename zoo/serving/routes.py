"""What each address answers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

from sse_starlette import EventSourceResponse
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as HTTPRequest
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from zoo.errors import ZooError
from zoo.generation.batching import Growth
from zoo.serving import embeddings, tokens
from zoo.serving.bodies import read_by
from zoo.serving.failures import body_of
from zoo.serving.interface import chat, text
from zoo.serving.interface.answers import Answer
from zoo.serving.interface.prepared import Prepared
from zoo.serving.measures import KIND, Measures
from zoo.serving.roster import Roster
from zoo.serving.waiting import News
from zoo.serving.worker import Worker

T = TypeVar("T")
STALLED_SECONDS = 60  # a client that takes nothing for so long is gone


class Routes:
    """The addresses, over one shelf and its worker."""

    def __init__(self, shelf: Roster, worker: Worker, created: int) -> None:
        self.shelf, self.worker, self.created = shelf, worker, created
        self.measures = Measures(shelf, worker)

    async def completions(self, request: HTTPRequest) -> Response:
        """/v1/completions."""
        return await self._complete(request, text.read)

    async def chat(self, request: HTTPRequest) -> Response:
        """/v1/chat/completions."""
        return await self._complete(request, chat.read)

    async def embeddings(self, request: HTTPRequest) -> Response:
        """/v1/embeddings."""
        asked = await self._read(request, embeddings.read)
        rows = []
        for row in asked.rows:  # one by one, so that texts in the making go on between them
            news = News(
                self.worker,
                asked.volume,
                lambda model, row=row: embeddings.vector_of(model, row, asked.volume),
                is_text=False,
            )
            try:
                rows += await news.next(request)
            finally:
                news.close()
        return JSONResponse(embeddings.told(asked, rows))

    async def tokenize(self, request: HTTPRequest) -> Response:
        """/tokenize."""
        return JSONResponse(await self._read(request, tokens.told))

    async def models(self, request: HTTPRequest) -> Response:
        """/v1/models."""
        return JSONResponse({"object": "list", "data": [self._model(name) for name in self.shelf.volumes]})

    async def model(self, request: HTTPRequest) -> Response:
        """/v1/models/NAME."""
        return JSONResponse(self._model(self.shelf.find(request.path_params["name"]).name))

    async def health(self, request: HTTPRequest) -> Response:
        """/health."""
        is_well = self.worker.is_alive and not self.worker.is_ending
        return JSONResponse({"status": "ok" if is_well else "ending"}, 200 if is_well else 503)

    async def metrics(self, request: HTTPRequest) -> Response:
        """/metrics."""
        return PlainTextResponse(self.measures.text(), media_type=KIND)

    async def _read(self, request: HTTPRequest, read: Callable[[dict[str, Any], Roster], T]) -> T:
        return await read_by(request, self.shelf.bounds, lambda fields: read(fields, self.shelf))

    def _model(self, name: str) -> dict[str, Any]:
        volume = self.shelf.volumes[name]
        told = {"id": name, "object": "model", "created": self.created, "owned_by": "zoo"}
        return {**told, "max_model_len": volume.context, "loaded": volume.engine is not None}

    async def _complete(self, request: HTTPRequest, read: Callable[[dict[str, Any], Roster], Prepared]) -> Response:
        prepared = await self._read(request, read)
        news = News(self.worker, prepared.volume, prepared.requests, is_streamed=prepared.is_streamed)
        try:
            first = await news.next(request)  # what cannot be made says so before anything is sent
            answer = Answer(prepared, news.arrival.requests)
            if prepared.is_streamed:
                return Events(answer, news, first, self.shelf.bounds.grace_seconds)
            async for number, piece in news.pieces(first, len(answer.choices), request):
                answer.add(number, piece)
            is_little = prepared.num_top is None and not prepared.echo  # else each token is spelt out
            return JSONResponse(answer.whole() if is_little else await run_in_threadpool(answer.whole))
        except BaseException:
            news.close()
            raise


class Events(EventSourceResponse):
    """An answer in pieces; whoever stops to listen frees its rows."""

    def __init__(self, answer: Answer, news: News, first: list[Growth], grace_seconds: float) -> None:
        super().__init__(
            _events(answer, news, first), send_timeout=STALLED_SECONDS, shutdown_grace_period=grace_seconds + 1
        )
        self._news = news

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._news.close()


async def _events(answer: Answer, news: News, first: list[Growth]) -> AsyncIterator[dict[str, str]]:
    try:
        for told in answer.beginnings():
            yield _event(told)
        async for number, piece in news.pieces(first, len(answer.choices)):
            told = answer.piece(answer.add(number, piece), piece)
            if told is not None:
                yield _event(told)
        if answer.prepared.tells_usage:
            yield _event(answer.last())
    except ZooError as error:  # the status is sent already
        yield _event(body_of(error))
    yield {"data": "[DONE]"}


def _event(told: dict[str, Any]) -> dict[str, str]:
    return {"data": json.dumps(told)}
