"""One property of the contract, and how it came out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from zoo.testing.subject import Subject

Property = Callable[[Subject], str]  # what was found, in words; raises Broken or Skipped


class Broken(Exception):
    """The property does not hold; the message says what was found and what was expected."""


class Skipped(Exception):
    """The property does not apply to this model; the message says why."""


@dataclass(frozen=True)
class Check:
    """A property of a family: `state` is ok, fail or skip, `detail` what was found.

    `number` is the property's place in the contract, the same for every family; 0 for a check from elsewhere.
    """

    group: str
    name: str
    state: str
    detail: str
    number: int = 0

    def __str__(self) -> str:
        return f"{self.state:4}  {self.group}: {self.name}" + (f" ({self.detail})" if self.detail else "")


def judged(group: str, prove: Property, subject: Subject, *, number: int = 0) -> Check:
    """The check of one property, whose name is that of the function that proves it."""
    # A family under test may raise anything; whatever it is, it is this property's failure and no other's.
    try:
        state, detail = "ok", prove(subject)
    except Skipped as reason:
        state, detail = "skip", str(reason)
    except Broken as fault:
        state, detail = "fail", str(fault)
    except Exception as error:
        state, detail = "fail", f"{type(error).__name__}: {'; '.join(str(error).splitlines())}"
    return Check(group, prove.__name__.replace("_", " "), state, detail, number)


def require(holds: bool, fault: str) -> None:
    """Raise Broken with `fault` unless it `holds`."""
    if not holds:
        raise Broken(fault)


def shown(names: list[str], most: int = 3) -> str:
    """A list of names or faults for a message: the first few, and how many more there are."""
    rest = len(names) - most
    return "; ".join(names[:most]) + (f"; and {rest} more" if rest > 0 else "")
