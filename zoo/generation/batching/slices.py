"""A long prompt, read a layer at a time, so that other texts go on meanwhile.

To read it in parts would add its numbers in another order, and its text could be another. So the pass over it is whole,
and pauses where a layer begins: it runs in a thread of its own, which takes turns with the engine's. Never do both
compute, and what is computed is what it would be without the pauses.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from zoo.generation.batching.request import Request

LONG = 256  # tokens: fewer are read between two steps at once


class Slices:
    """Work that is done by and by, with a pause before each layer of `model`."""

    def __init__(self, model: Any, work: Callable[[], Any]) -> None:
        self._model, self._work = model, work
        self._mine, self._theirs = threading.Semaphore(0), threading.Semaphore(0)
        self._thread: threading.Thread | None = None
        self._num_threads = torch.get_num_threads()
        self._found: Any = None
        self._error: BaseException | None = None
        self._is_stopped = False
        self.is_done = False

    def advance(self) -> None:
        """Work until the next layer begins, or the end."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="zoo-prompt", daemon=True)
            self._thread.start()
        else:
            self._mine.release()
        self._theirs.acquire()

    def result(self) -> Any:
        """What was made. Raises what went wrong."""
        if self._error is not None:
            raise self._error
        return self._found

    def stop(self) -> None:
        """Give up what is not done."""
        self._is_stopped = True
        if self._thread is not None and not self.is_done:
            self.advance()

    def _run(self) -> None:
        torch.set_num_threads(self._num_threads)  # a new thread may begin with another number
        hooks = [layer.register_forward_pre_hook(self._pause) for layer in layers_of(self._model)]
        try:
            with torch.inference_mode():
                self._found = self._work()
        except _Stopped:
            pass
        except BaseException as error:  # told where the result is asked for
            self._error = error
        finally:
            for hook in hooks:
                hook.remove()
            self.is_done = True
            self._theirs.release()

    def _pause(self, module: nn.Module, given: Any) -> None:
        # Others use the same layers, and where one thread computes, the number is set for all of them.
        if threading.current_thread() is not self._thread or torch.get_num_threads() != self._num_threads:
            return
        self._theirs.release()
        self._mine.acquire()
        if self._is_stopped:
            raise _Stopped


class LongPrompts:
    """Requests whose prompts are being read by and by, in the order in which they came."""

    def __init__(self) -> None:
        self._open: list[tuple[Request, Slices]] = []

    @property
    def num_rows(self) -> int:
        """Texts that will be made of them."""
        return sum(request.config.num_return_sequences for request, _ in self._open)

    def add(self, request: Request, slices: Slices) -> None:
        """Take one that has not begun."""
        self._open.append((request, slices))

    def advance(self) -> tuple[Request, Slices] | None:
        """Read on in the first as far as its next layer; gives it once it is read."""
        gone = [pair for pair in self._open if pair[0].is_cancelled]  # looked at once: others set it at any time
        for _, slices in gone:
            slices.stop()
        self._open = [pair for pair in self._open if pair not in gone]
        if self._open:
            self._open[0][1].advance()
        return self._open.pop(0) if self._open and self._open[0][1].is_done else None

    def reset(self) -> list[Request]:
        """Give up all of them."""
        ended = [request for request, _ in self._open]
        for _, slices in self._open:
            slices.stop()
        self._open = []
        return ended


class _Stopped(BaseException):
    """Nobody waits for the rest."""


def layers_of(model: Any) -> Iterator[nn.Module]:
    """The members of a model's outermost lists of modules, of each tower."""
    for child in model.children() if isinstance(model, nn.Module) else ():
        if isinstance(child, nn.ModuleList):
            yield from child
        else:
            yield from layers_of(child)
