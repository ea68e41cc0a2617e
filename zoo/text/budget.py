"""What one rendering of a chat template may cost."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from typing import Any

from jinja2.exceptions import SecurityError

MAX_CHARS = 32 << 20  # in one value, and in all output
MAX_SECONDS = 5.0  # templates in use take milliseconds
MAX_BITS = 10_000  # in a number
MAX_ITEMS = 1 << 24  # in all lists that a template builds
MAX_ARGUMENTS = {"batch": 10_000, "slice": 10_000, "indent": 100, "tojson": 100}  # numbers that set a size
WIDE = re.compile(r"[0-9]{4}|\*|\{[^}]*\{")  # in a format text: a width of four digits, or one from elsewhere


class Budget:
    """Counts time and size; raises SecurityError when either runs out.

    A value weighs the characters that writing it out would take. What the template builds is weighed from the weights
    of its parts, for lists of lists of the same list are small to hold and endless to print or compare.
    """

    def __init__(self) -> None:
        self._deadline = time.monotonic() + MAX_SECONDS
        self._spent = self._items = 0
        self._weights: dict[int, tuple[Any, int]] = {}  # id -> the value, kept alive so that the id stays its own

    def tick(self) -> None:
        """Stop a template that takes too long."""
        if time.monotonic() > self._deadline:
            raise SecurityError(f"it runs for more than {MAX_SECONDS:g} seconds")

    def spend(self, value: Any) -> str:
        """`value` as text, counted as output."""
        self.tick()
        self._spent += self._check(self._weight(value))
        self._check(self._spent)
        return str(value)

    def weigh(self, value: Any) -> Any:
        """`value`, if it is not too large."""
        self.tick()
        self._check(self._weight(value))
        return value

    def check_sum(self, parts: Iterable[Any]) -> None:
        """Refuse to join what is too large together."""
        self._check(sum(map(self._weight, parts)))

    def check_operator(self, operator: str, left: Any, right: Any) -> None:
        """Refuse a sum, product, power or format that would be too large."""
        if operator == "%" and isinstance(left, str):
            self._check_format(left, [right])
        elif isinstance(left, int) and isinstance(right, int):
            bits = left.bit_length() * max(1, right) if operator == "**" else left.bit_length() + right.bit_length()
            self._check(bits, MAX_BITS)
        elif operator == "*":
            times, value = (left, right) if isinstance(left, int) else (right, left)
            self._check((times if isinstance(times, int) else 1) * self._weight(value))
        elif operator == "+":
            self.check_sum((left, right))

    def check_call(self, name: str, owner: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Refuse a method or filter of `owner` whose result would be too large for its arguments."""
        given = [*args, *kwargs.values()]
        if (most := MAX_ARGUMENTS.get(name)) and any(isinstance(n, int) and abs(n) > most for n in given):
            raise SecurityError(f"{name} with a number above {most:,}")
        if isinstance(owner, str) and name in ("format", "format_map"):
            self._check_format(owner, given)
        elif isinstance(owner, str) and name == "replace" and given and isinstance(given[0], str):
            self._check(owner.count(given[0]) * sum(map(self._weight, given[1:])))
        elif name == "join":
            separators = [len(value) for value in (owner, *given) if isinstance(value, str)]
            self._check(self._weight(owner) * max(1, min(separators, default=1)))
        elif name == "strftime_now" and given and re.search("%[^a-zA-Z%]*[0-9]", str(given[0])):
            raise SecurityError("a date with a width")

    def _check_format(self, text: str, given: list[Any]) -> None:
        if WIDE.search(text):
            raise SecurityError("a format with a width of four digits")
        fields = text.count("%") + text.count("{")
        self._check(fields * (1000 + sum(map(self._weight, given))))

    def _check(self, weight: int, most: int = MAX_CHARS) -> int:
        if weight > most:
            raise SecurityError(f"it builds something beyond a limit of {most:,}")
        return weight

    def _weight(self, value: Any) -> int:
        if isinstance(value, str):
            return len(value)
        if isinstance(value, int):
            return 1 + value.bit_length() // 3
        if not isinstance(value, dict | list | tuple | set):
            return 8
        if id(value) not in self._weights:
            parts = [part for item in value.items() for part in item] if isinstance(value, dict) else value
            self._weights[id(value)] = value, 2 + sum(self._weight(part) + 2 for part in parts)
            self._items = self._check(self._items + len(parts), MAX_ITEMS)
        return self._weights[id(value)][1]
