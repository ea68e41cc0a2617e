"""The thread in which models work: it takes requests in the order in which they came, and hands pieces back.

Only this thread touches models and engines. What it tells the others goes through the event loop's own queue.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from zoo.errors import ZooError
from zoo.generation.batching import Growth, QueueFull, Request
from zoo.serving.failures import Refusal
from zoo.serving.roster import Roster, Volume

Tell = Callable[[list[Any]], None]  # called from the worker's thread


@dataclass(eq=False)
class Arrival:
    """Work for one model: requests that it makes texts for, or what `make` gives at once."""

    volume: Volume
    make: Callable[[Any], Sequence[Request] | Any]  # the model -> requests, or an answer
    tell: Tell
    is_text: bool = True
    is_streamed: bool = True  # whether each step is told, or all of them at the end
    held: list[Growth] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    is_cancelled: bool = False

    def cancel(self) -> None:
        """Nobody waits for it any more."""
        self.is_cancelled = True
        for request in self.requests:
            request.is_cancelled = True


class Worker:
    """Runs engines while there is something to do, and sleeps while there is not."""

    def __init__(self, shelf: Roster) -> None:
        self.shelf = shelf
        self.counts = {"tokens": 0, "prompt_tokens": 0, "texts": 0, "cancelled": 0, "errors": 0}
        self.is_ending = False
        self._arrivals: deque[Arrival] = deque()
        self._telling: dict[Request, Arrival] = {}  # of requests whose texts are not all done
        self._open: dict[Request, int] = {}  # how many texts of each
        self._wake = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="zoo-serve", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether anybody works."""
        return self._thread.is_alive()

    @property
    def num_waiting(self) -> int:
        """Requests whose texts have not begun."""
        return len(self._arrivals) + sum(engine.num_waiting for engine in self.shelf.engines)

    def submit(self, arrival: Arrival) -> None:
        """Queue work. Raises QueueFull where too much waits, Refusal once the server ends."""
        if self.is_ending:
            raise Refusal(503, "the server is about to end", kind="server_error", hint="try another one")
        with self._wake:
            if (waiting := self.num_waiting) >= self.shelf.bounds.queue:
                raise QueueFull(f"{waiting} requests are waiting already", hint="try again later")
            self._arrivals.append(arrival)
            self._wake.notify()

    def end(self, seconds: float) -> None:
        """Take no more work; what is not done within `seconds` is cancelled."""
        self.is_ending = True
        limit = time.monotonic() + seconds
        while not self._is_idle() and time.monotonic() < limit:
            time.sleep(0.02)
        for arrival in [*self._arrivals, *self._telling.values()]:
            arrival.cancel()
        with self._wake:
            self._wake.notify()
        self._thread.join(5)

    def _is_idle(self) -> bool:
        return not self._arrivals and all(engine.is_idle for engine in self.shelf.engines)

    def _run(self) -> None:
        while not (self.is_ending and self._is_idle()):
            with self._wake:
                while self._is_idle() and not self.is_ending:
                    self._wake.wait(0.5)
            self._take_arrivals()
            for volume in [*self.shelf.volumes.values()]:
                if volume.engine is not None and not volume.engine.is_idle:
                    self._step(volume)

    def _take_arrivals(self) -> None:
        """Let arrivals begin in their order, as far as the models they want can be opened now."""
        while self._arrivals and (self._arrivals[0].is_cancelled or self.shelf.can_open(self._arrivals[0].volume)):
            arrival = self._arrivals.popleft()
            if arrival.is_cancelled:
                self.counts["cancelled"] += 1
                continue
            try:
                self._begin(arrival)
            except ZooError as error:
                self._fail(arrival, error)
            except Exception as error:  # a model is foreign code as far as a server goes: it must not end for it
                traceback.print_exc()
                self._fail(arrival, Refusal(500, f"{type(error).__name__} in the model", kind="server_error"))

    def _begin(self, arrival: Arrival) -> None:
        engine = self.shelf.open(arrival.volume)
        made = arrival.make(engine.model)
        if not arrival.is_text:
            arrival.tell([made])
            return
        arrival.requests = [*made]
        if arrival.is_cancelled:
            return
        for request in arrival.requests:
            engine.submit(request)
            self._telling[request] = arrival
            self._open[request] = request.config.num_return_sequences
            self.counts["prompt_tokens"] += len(request.prompt)

    def _step(self, volume: Volume) -> None:
        assert volume.engine is not None
        try:
            pieces = volume.engine.step()
        except Exception as error:  # out of memory, for example: nobody's in particular
            traceback.print_exc()
            told = Refusal(500, f"{type(error).__name__} while texts were made", kind="server_error")
            pieces = [Growth(request, 0, error=told) for request in volume.engine.reset()]
        told_by: dict[Arrival, list[Growth]] = {}
        for piece in pieces:
            self._count(piece)
            if (arrival := self._telling.get(piece.request)) is not None:
                told_by.setdefault(arrival, []).append(piece)
                self._open[piece.request] -= piece.finish_reason is not None
        for arrival, news in told_by.items():
            self._tell(arrival, news)
        for arrival in {*self._telling.values()}:
            if all(not self._open[request] or request.is_cancelled for request in arrival.requests):
                self._forget(arrival)

    def _forget(self, arrival: Arrival) -> None:
        """Its texts are done, or nobody waits for them."""
        self.counts["cancelled"] += any(self._open[request] for request in arrival.requests)
        for request in arrival.requests:
            del self._open[request], self._telling[request]

    def _tell(self, arrival: Arrival, news: list[Growth]) -> None:
        arrival.held += news
        is_over = any(piece.error for piece in news) or not any(self._open[request] for request in arrival.requests)
        if not arrival.is_cancelled and (arrival.is_streamed or is_over):
            arrival.tell(arrival.held)
            arrival.held = []

    def _count(self, piece: Growth) -> None:
        self.counts["tokens"] += len(piece.tokens)
        self.counts["texts"] += piece.finish_reason is not None
        self.counts["errors"] += piece.error is not None

    def _fail(self, arrival: Arrival, error: ZooError) -> None:
        self.counts["errors"] += 1
        arrival.tell([error])
