"""What a step of a chat template may cost, worked out from its arguments before it is taken.

The numbers are upper bounds, measured on one core and doubled: they need not be right, only never far too small.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import log2
from typing import Any, Protocol

MAX_BITS = 10_000  # in a number that is computed with
MAX_DIGITS = 4300  # of a text that is read as a number: Python's own limit, which it does not hold for every base
MAX_DATE_CHARS = 1000
MAX_STRIPPED = 100  # letters to strip: each end of a text is looked up among them
MAX_TAGGED_CHARS = 100_000  # markupsafe goes over a text again for every comment in it
MAX_ARGUMENTS = {  # numbers that set a size, and texts that are put in for every item
    "batch": 10_000, "slice": 10_000, "indent": 100, "tojson": 100, "round": 300, "expandtabs": 100,
}  # fmt: skip
NANOSECONDS = {  # for a character, where it is more than 5
    "title": 200, "capitalize": 20, "wordcount": 200, "urlencode": 300, "pprint": 2000, "tojson": 100, "escape": 30,
    "e": 30, "forceescape": 30, "striptags": 100, "indent": 50, "split": 50, "rsplit": 50, "splitlines": 50,
    "list": 50, "casefold": 30, "lower": 20, "upper": 20, "swapcase": 30, "format": 20, "join": 20, "string": 50,
    "dict": 100, "namespace": 100, "groupby": 20, "sort": 20, "unique": 50, "dictsort": 20, "min": 20, "max": 20,
    "replace": 20,
}  # fmt: skip
GROWTH = {  # characters for each that went in, where it is more than 1
    "tojson": 12, "escape": 6, "e": 6, "forceescape": 6, "urlencode": 12, "pprint": 20, "upper": 3, "lower": 3,
    "title": 3, "capitalize": 3, "casefold": 3, "swapcase": 3,
}  # fmt: skip
OF_ITEMS = frozenset(  # what goes through a list item by item, in Python
    "map select reject selectattr rejectattr groupby sort unique dictsort min max sum join list batch slice items "
    "reverse first last".split()
)
BACKWARDS = frozenset(("rfind", "rindex", "rsplit", "rpartition"))  # CPython searches so by trying every place
STRIPPING = frozenset(("strip", "lstrip", "rstrip", "trim"))
PADDING = frozenset(("center", "ljust", "rjust", "zfill"))
_PERCENT = re.compile(r"%(?:\([^)]*\))?[^a-zA-Z%]*[a-zA-Z%]")
_WIDE = re.compile(r"[0-9]{4}|\*")  # a width of four digits, or one from elsewhere
_BRACES = re.compile(r"\{[^{}]*(\{)?[^{}]*\}?")


@dataclass(frozen=True)
class Cost:
    """At most so much, or why it is not done at all."""

    nanoseconds: float = 0
    chars: float = 0
    items: float = 0
    bytes: float = 0  # beside the characters
    refused: str = ""


class Scales(Protocol):
    """What weighs values: see Budget."""

    def weight(self, value: Any) -> int:
        """Characters to write out."""

    def depth(self, value: Any) -> int:
        """Lists within lists."""

    def written(self, value: Any) -> int:
        """Characters with escapes."""


def cost_of_operator(scales: Scales, operator: str, left: Any, right: Any) -> Cost:
    """a + b and the like."""
    if isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length() * max(1, right) if operator == "**" else left.bit_length() + right.bit_length()
        return Cost(refused="" if bits <= MAX_BITS else f"a number of more than {MAX_BITS:,} bits")
    if operator == "%" and isinstance(left, str):
        return _format(scales, left, right if isinstance(right, tuple) else (right,), "%")
    if operator == "*":
        times, value = (left, right) if isinstance(left, int) else (right, left)
        return _copies(scales, value, times if isinstance(times, int) else 1)
    if operator == "+":
        chars = _text(scales, left, right) if isinstance(left, str) else scales.weight(left) + scales.weight(right)
        return Cost(10 * chars, chars, bytes=8 * (_len(left) + _len(right)))
    return Cost()


def cost_of_slice(scales: Scales, value: Any, part: slice) -> Cost:
    """a[b:c]."""
    if not isinstance(value, str | list | tuple):
        return Cost()
    count = len(range(*part.indices(len(value))))
    return Cost(10 * count, count if isinstance(value, str) else 0, count, 8 * count)


def cost_of_call(scales: Scales, name: str, owner: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Cost:
    """A method, filter, test or function; the owner of a function is None."""
    given = [*args, *kwargs.values()]
    if refused := _refused(name, owner, given):
        return Cost(refused=refused)
    if name in ("format", "format_map") and isinstance(owner, str):
        # A filter formats with %, a method with braces, and which of them this is makes no matter for a bound.
        return _format(scales, owner, given, "%{")
    size = scales.written(owner) if owner is not None and name not in OF_ITEMS else scales.weight(owner)
    total = size + sum(map(scales.weight, given))
    chars = GROWTH.get(name, 1) * size + _added(scales, name, owner, given, size)
    count = _len(owner)
    nanoseconds = NANOSECONDS.get(name, 5) * total
    if name in OF_ITEMS:
        paths = 1 + sum(text.count(".") + text.count(",") for text in given if isinstance(text, str))
        nanoseconds += count * paths * (2000 + 100 * log2(count + 2))
        chars = chars if name == "join" else 0
    if name in BACKWARDS and isinstance(owner, str):
        nanoseconds += len(owner) * max((len(text) for text in given if isinstance(text, str)), default=1)
    if name == "sum" and not all(isinstance(start, int | float) for start in _starts(args, kwargs)):
        nanoseconds += 2.0 * count * total  # the list so far is copied for every item
    pieces = _pieces(name, owner, given)
    return Cost(nanoseconds, chars, max(count, pieces), (150 if name in OF_ITEMS else 0) * count + 90 * pieces)


def _refused(name: str, owner: Any, given: list[Any]) -> str:
    if most := MAX_ARGUMENTS.get(name):
        sizes = [abs(one) if isinstance(one, int) else len(one) if isinstance(one, str) else 0 for one in _flat(given)]
        if any(size > most for size in sizes):
            return f"{name} with a number or a text above {most:,}"
    if name in STRIPPING and any(isinstance(one, str) and len(one) > MAX_STRIPPED for one in given):
        return f"{name} of more than {MAX_STRIPPED} different letters"
    if name == "int" and isinstance(owner, str) and len(owner) > MAX_DIGITS:
        return f"a number of more than {MAX_DIGITS:,} digits"
    if name == "striptags" and isinstance(owner, str) and len(owner) > MAX_TAGGED_CHARS:
        return f"striptags of more than {MAX_TAGGED_CHARS:,} characters"
    if name == "strftime_now" and given:
        form = str(given[0])[: MAX_DATE_CHARS + 1]
        if len(form) > MAX_DATE_CHARS or re.search("%[^a-zA-Z%]*[0-9]", form):
            return "a date with a width"
    return ""


def _added(scales: Scales, name: str, owner: Any, given: list[Any], size: int) -> float:
    """Characters that arguments put in."""
    texts = [scales.written(one) for one in given]
    if name == "join":
        separators, items = (
            (len(owner), given[0] if given else ()) if isinstance(owner, str) else (max(texts, default=0), owner)
        )
        return scales.written(items) + separators * _len(items)
    if name == "replace" and len(given) > 1:
        old = given[0] if isinstance(given[0], str) else "x"
        times = owner.count(old) if isinstance(owner, str) else size + 1
        return times * texts[1]
    if name == "indent":
        lines = owner.count("\n") + 2 if isinstance(owner, str) else size
        return lines * max((one if isinstance(one, int) else len(str(one)) for one in given), default=4)
    if name == "tojson":
        widths = sum(len(one) if isinstance(one, str) else one for one in _flat(given) if isinstance(one, str | int))
        return size * widths * (1 + scales.depth(owner))
    if name in PADDING:
        return sum(abs(one) for one in given if isinstance(one, int))
    if name == "expandtabs":
        return size * max((abs(one) for one in given if isinstance(one, int)), default=8)
    return sum(texts)


def _pieces(name: str, owner: Any, given: list[Any]) -> int:
    """Texts of their own that a text falls into."""
    if not isinstance(owner, str):
        return 0
    if name in ("split", "rsplit") and given and isinstance(given[0], str) and given[0]:
        return owner.count(given[0]) + 1
    if name in ("split", "rsplit", "wordcount"):
        return len(owner) // 2 + 1
    if name in ("splitlines", "indent"):
        return (
            len(owner.splitlines())
            if len(owner) < 4096
            else sum(map(owner.count, "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029")) + 1
        )
    return len(owner) if name in OF_ITEMS or name == "title" else 0


def _format(scales: Scales, text: str, given: Iterable[Any], kinds: str) -> Cost:
    """Fields of a text, each filled with the longest of what is given."""
    percents = _PERCENT.findall(text) if "%" in kinds else []
    braces = list(_BRACES.finditer(text)) if "{" in kinds else []
    if any(map(_WIDE.search, percents)) or any(found[1] or _WIDE.search(found[0]) for found in braces):
        return Cost(refused="a format with a width of four digits, or with a width that is an argument")
    longest = max((_text(scales, one) for one in given), default=0)
    chars = len(text) + (len(percents) + len(braces)) * (1000 + longest)
    return Cost(20 * chars + 1000 * len(text) / 10, chars)


def _text(scales: Scales, *parts: Any) -> int:
    """Characters of texts put together: one that is marked as safe has the others escaped."""
    return sum(map(scales.written, parts)) * (6 if any(hasattr(part, "__html__") for part in parts) else 1)


def _copies(scales: Scales, value: Any, times: int) -> Cost:
    count = max(times, 0) * _len(value)
    chars = max(times, 0) * scales.weight(value)
    return Cost(
        count, chars, count if not isinstance(value, str) else 0, 8 * count if not isinstance(value, str) else 0
    )


def _starts(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Any]:
    """What sum begins with, where it is said."""
    return [*args[1:2], *([kwargs["start"]] if "start" in kwargs else [])]


def _flat(given: list[Any]) -> Iterable[Any]:
    for one in given:
        yield from one if isinstance(one, list | tuple) and len(one) < 10 else (one,)


def _len(value: Any) -> int:
    return len(value) if hasattr(value, "__len__") else 0
