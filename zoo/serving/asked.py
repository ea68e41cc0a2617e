"""The fields of a request, each of which is used, known to change nothing, or refused: none is ignored."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from zoo.errors import clean, did_you_mean
from zoo.serving.failures import BadField


class Asked:
    """A request's fields, which count as read once they were asked for; null is as good as absent."""

    def __init__(self, fields: Mapping[str, Any], *, at: str = "") -> None:
        """`at` is where they stand: the name of the field that they are part of."""
        self._at, self._prefix = at, f"{at}." if at else ""
        self._fields = {name: value for name, value in fields.items() if value is not None}
        self._known: set[str] = set()

    def any(self, name: str) -> Any:
        """Whatever stands there; None where nothing does."""
        self._known.add(name)
        return self._fields.get(name)

    def text(self, name: str) -> str | None:
        """A text."""
        return self._of(name, "a text", lambda value: type(value) is str)

    def flag(self, name: str) -> bool:
        """true or false; absent is false."""
        return bool(self._of(name, "true or false", lambda value: type(value) is bool))

    def count(self, name: str, low: int, high: int) -> int | None:
        """A whole number within bounds."""
        return self._of(name, f"a whole number from {low:,} to {high:,}", lambda v: type(v) is int and low <= v <= high)

    def number(self, name: str, low: float, high: float) -> float | None:
        """A finite number within bounds."""
        return self._of(
            name, f"a number from {low:g} to {high:g}",
            lambda v: type(v) in (int, float) and math.isfinite(v) and low <= v <= high,
        )  # fmt: skip

    def record(self, name: str) -> dict[str, Any] | None:
        """An object."""
        return self._of(name, "an object", lambda value: type(value) is dict)

    def inside(self, name: str) -> Asked | None:
        """An object whose own fields are asked for, each as strictly as those around it."""
        found = self.record(name)
        return None if found is None else Asked(found, at=self._prefix + name)

    def items(self, name: str, most: int) -> list[Any] | None:
        """A list of so many items at most."""
        return self._of(name, f"a list of at most {most:,}", lambda value: type(value) is list and len(value) <= most)

    def inert(self, *names: str) -> None:
        """These change nothing here, whatever they say: labels for accounts, caches and logs that zoo does not have."""
        self._known.update(names)

    def only(self, name: str, *values: object, why: str) -> None:
        """Refuse what is not one of these values, since zoo would not do it."""
        value = self.any(name)
        if value is not None and not any(value == other and type(value) is type(other) for other in values):
            raise self.refusal(name, f"{name}={_shown(value)} is not supported", why=why, hint=f"leave {name} out")

    def finish(self) -> None:
        """Raise BadField for a field that nobody asked for."""
        if wrong := next((name for name in self._fields if name not in self._known), None):
            where = f"in {self._at}" if self._at else "here"
            raise self.refusal(
                wrong, f"there is no field {clean(wrong)!r} {where}", why=did_you_mean(wrong[:80], self._known)
            )

    def refusal(self, name: str, what: str, *, why: str = "", hint: str = "") -> BadField:
        """The error of one of these fields."""
        return BadField(self._prefix + name, what, why=why, hint=hint)

    def _of(self, name: str, what: str, holds: Any) -> Any:
        value = self.any(name)
        if value is not None and not holds(value):
            raise self.refusal(name, f"{name}={_shown(value)} is not {what}")
        return value


def _shown(value: Any) -> str:
    if isinstance(value, list | dict):
        return f"{'a list' if isinstance(value, list) else 'an object'} of {len(value):,}"
    if isinstance(value, int) and abs(value) > 1 << 64:
        return "a very large number"
    return clean(repr(value[:100] if isinstance(value, str) else value))
