"""What one rendering of a chat template may cost."""

from __future__ import annotations

import sys
import time
from collections.abc import ItemsView, Iterable, KeysView, Mapping, ValuesView
from typing import Any

from jinja2.exceptions import SecurityError

from zoo.text.sandbox.costs import Cost, cost_of_call, cost_of_operator, cost_of_slice

MAX_CHARS = 32 << 20  # in one value, and in all output
MAX_SECONDS = 1.5  # of this thread's CPU; templates in use take milliseconds
MAX_BYTES = 256 << 20  # of all that a template makes, whether or not it keeps it
MAX_ITEMS = 1 << 24  # in one list
CONTAINERS = (dict, list, tuple, set, range, KeysView, ValuesView, ItemsView)
NOTE_BYTES = 300  # to remember the weight of a list


class Budget:
    """Counts time and memory; raises SecurityError before a step for which either would not do.

    A value weighs the characters that writing it out would take. What the template builds is weighed from the weights
    of its parts, for lists of lists of the same list are small to hold and endless to print or compare.
    """

    def __init__(self) -> None:
        self._deadline = time.thread_time() + MAX_SECONDS
        self._spent = self._bytes = 0
        self._weights: dict[int, tuple[Any, int, int]] = {}  # id -> the value, kept so that the id stays its own; ...

    def tick(self, nanoseconds: float = 0) -> None:
        """Stop a template that takes too long, or is about to."""
        if time.thread_time() + nanoseconds * 1e-9 > self._deadline:
            raise SecurityError(f"it runs for more than {MAX_SECONDS:g} seconds")

    def spend(self, value: Any) -> str:
        """`value` as text, counted as output."""
        text = self.text(value)
        self._spent += len(text)
        if self._spent > MAX_CHARS:
            raise _too_large()
        self._take(4 * len(text))  # it is copied into the whole, where one wide letter widens all
        return text

    def text(self, value: Any) -> str:
        """`value` written out."""
        if isinstance(value, str):
            self.tick()
            return str(value)
        self.allow(Cost(nanoseconds=50 * self.weight(value), chars=self.written(value)))
        return self.weigh(str(value))

    def weigh(self, value: Any, *given: Any) -> Any:
        """`value`, new unless it is one of those `given`; its memory is counted."""
        self.tick()
        if any(value is one for one in given):
            return value
        if isinstance(value, str):
            self._take(sys.getsizeof(value))
        if isinstance(value, int) and value.bit_length() > 8 * MAX_CHARS:
            raise _too_large()
        if isinstance(value, CONTAINERS):
            self._take(sys.getsizeof(value))
            if self.weight(value) > MAX_CHARS:
                raise _too_large()
        return value

    def check_operator(self, operator: str, left: Any, right: Any) -> None:
        """Refuse a sum, product, power or format that would be too large."""
        self.allow(cost_of_operator(self, operator, left, right))

    def know(self, result: Any, *parts: tuple[int, Any]) -> None:
        """Weigh a list made of so many times each part without going through it."""
        if isinstance(result, list | tuple):
            weight = 2 + sum(times * self.weight(part) for times, part in parts)
            depth = max((self.depth(part) for _, part in parts), default=1)
            self._remember(result, weight, depth)

    def pieces(self, result: Any, text: str) -> Any:
        """Count the texts that `text` fell into: they are new, and no longer together than it."""
        self._take(sys.getsizeof(result) + sum(map(sys.getsizeof, result)))
        self._remember(result, 2 + len(text) + 2 * len(result), 1)
        self.tick()
        return result

    def check_call(self, name: str, owner: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Refuse a method, filter or test of `owner` that would cost too much for its arguments."""
        self.allow(cost_of_call(self, name, owner, args, kwargs))

    def check_slice(self, value: Any, part: slice) -> None:
        """Refuse to copy too much."""
        self.allow(cost_of_slice(self, value, part))

    def check_sum(self, parts: Iterable[Any]) -> None:
        """Refuse to join what is too large together."""
        sizes = [self.written(part) for part in parts]
        self.allow(Cost(nanoseconds=20 * sum(sizes), chars=sum(sizes)))

    def check_comparison(self, value: Any) -> None:
        """Refuse to compare what takes long to go through."""
        self.tick(self.weight(value) * (1 if isinstance(value, str) else 50))

    def allow(self, cost: Cost) -> None:
        """Go on, if what comes next fits into what is left."""
        if cost.refused:
            raise SecurityError(cost.refused)
        if cost.chars > MAX_CHARS or cost.items > MAX_ITEMS:
            raise _too_large()
        if self._bytes + 4 * cost.chars + cost.bytes > MAX_BYTES:
            raise _too_large()
        self.tick(cost.nanoseconds)

    def written(self, value: Any) -> int:
        """Characters of `value` written out at most: within a list, letters may be written as escapes."""
        return len(value) if isinstance(value, str) else 10 * self.weight(value)

    def weight(self, value: Any) -> int:
        """Characters that writing out `value` takes, escapes left aside."""
        if isinstance(value, str):
            return len(value)
        if isinstance(value, int):
            return 1 + value.bit_length() // 3
        return self._noted(value)[1] if isinstance(value, CONTAINERS) else 8

    def depth(self, value: Any) -> int:
        """Lists within lists."""
        return self._noted(value)[2] if isinstance(value, CONTAINERS) else 0

    def _noted(self, value: Any) -> tuple[Any, int, int]:
        if (noted := self._weights.get(id(value))) is None:
            if len(value) > MAX_ITEMS:
                raise _too_large()
            self.tick(500 * len(value))
            parts = [part for item in value.items() for part in item] if isinstance(value, dict) else list(value)
            weight = 2 + sum(self.weight(part) + 2 for part in parts)
            depth = 1 + max(map(self.depth, parts), default=0)
            noted = self._remember(value, weight, depth)
        return noted

    def _remember(self, value: Any, weight: int, depth: int) -> tuple[Any, int, int]:
        self._take(NOTE_BYTES)
        self._weights[id(value)] = noted = (value, weight, depth)
        return noted

    def _take(self, count: int) -> None:
        self._bytes += count
        if self._bytes > MAX_BYTES:
            raise _too_large()


def _too_large() -> SecurityError:
    return SecurityError(f"it builds a value above the limit of {MAX_CHARS:,} characters or {MAX_BYTES:,} bytes")
