"""What a user can cause to go wrong. Every error says what was found, what was expected and what to type next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = [
    "CheckpointError", "ConfigError", "MissingExtra", "NetworkError", "UnknownName", "UsageError", "ZooError",
    "ZooWarning", "clean", "did_you_mean", "nearest", "some",
]  # fmt: skip


class ZooError(Exception):
    """Bad data or an answer of "no": printed without a traceback, exit code 1.

    The first line says what is wrong, `why` what was expected, `hint` what to do about it.
    """

    exit_code = 1

    def __init__(self, what: str, *, why: str = "", hint: str = "") -> None:
        self.what, self.why, self.hint = what, why, hint
        super().__init__("\n".join(line for line in (what, why, hint) if line))


class UsageError(ZooError):
    """The command or call was worded wrongly: exit code 2."""

    exit_code = 2


class UnknownName(UsageError):
    """A name that nothing here goes by, with the nearest that something does."""

    def __init__(self, what: str, name: str, known: Iterable[str], *, hint: str = "") -> None:
        super().__init__(what, why=did_you_mean(name, known), hint=hint)


class WrongType(UsageError):
    """A value that is not of the types that a function takes."""

    def __init__(self, name: str, value: object, wanted: str, *, hint: str = "") -> None:
        super().__init__(f"{name} is of type {type(value).__name__}, not {wanted}", hint=hint)


class ConfigError(UsageError):
    """A config whose fields contradict each other or hold a value that does not exist."""


class CheckpointError(ZooError):
    """A checkpoint that cannot be what it says it is; `file` and `item` (a key or tensor) are named first."""

    def __init__(self, file: object, item: str, what: str, *, why: str = "", hint: str = "") -> None:
        where = ": ".join(part for part in (str(file), item and clean(item)) if part)
        super().__init__(f"{where}: {what}", why=why, hint=hint)


class MissingExtra(ZooError):
    """A package that only some of zoo needs: exit code 3."""

    exit_code = 3

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs the package {package}", hint=f"pip install 'zoo-lm[{extra}]'")


class NetworkError(ZooError):
    """The network or the hub did not give what was asked: exit code 3."""

    exit_code = 3


class ZooWarning(UserWarning):
    """What a caller should know though it is no error; the commands print it as one line that starts with `note:`."""


def did_you_mean(name: str, known: Iterable[str], most: int = 3) -> str:
    """One line that names the nearest of `known`, or, where none is near, the first few."""
    known = sorted(known)
    if close := nearest(name, known, most):
        return f"did you mean: {', '.join(close)}?"
    return f"known: {some(known, most=12)}" if known else ""


def nearest(name: str, known: Iterable[str], most: int = 3) -> list[str]:
    """The names of `known` that a typo is likely to have meant: those it begins, then by the fewest letters to change.

    A name begins another that goes on behind it, also behind a group: `glm-130b` begins `decoder/glm-130b`.
    """
    import difflib  # slow to import and seldom needed

    known = sorted(known)
    begun = [other for other in reversed(known) if len(name) > 2 and other.rpartition("/")[2].startswith(name)]
    close = difflib.get_close_matches(name, known, n=12, cutoff=0.5)
    near = sorted(sorted(close, reverse=True), key=lambda other: distance(name, other))
    return [*dict.fromkeys([*sorted(begun, key=len), *near])][:most]


def distance(a: str, b: str) -> int:
    """Letters to insert, delete or replace to turn one name into the other (Levenshtein, 1966)."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        corner, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            corner, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, corner + (x != y))
    return row[-1]


def some(names: Sequence[str], most: int = 3) -> str:
    """The first `most` names, and how many more there are."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def clean(text: object, most: int = 80) -> str:
    """Text from a file made safe to print: control characters escaped, cut to `most` characters."""
    start = str(text)[: most + 1]  # a name of a hundred megabytes is not escaped before it is cut
    if not start.isprintable():
        start = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in start)
    return start if len(start) <= most else start[: most - 1] + "…"
