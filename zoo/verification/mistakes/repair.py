"""A mistake of a port, as a small repair of the model that may have made it.

A mistake is a function from the modules of one part of a model (a layer, or all that is outside of layers) to the
repairs that would undo it there. A repair is an edit: if the difference vanishes under it, that was the mistake.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from torch import Tensor, nn

from zoo.verification.edits import Edit

Modules = Mapping[str, nn.Module]  # by canonical name


@dataclass(frozen=True)
class Repair:
    """One way in which one module may be wrong. Repairs of one `kind` are the same change in other places."""

    mistake: str  # by its name in MISTAKES
    kind: str  # which of the mistake's variants
    where: str  # the module that is changed
    says: str  # what the model does and what the reference does
    advice: str  # the line to change
    edit: Edit


@dataclass(frozen=True)
class Case:
    """A part of the failing model, and what else a mistake may look at."""

    modules: Modules
    config: Any
    theirs: Callable[[str], Tensor | None]  # a weight of ours as the reference has it

    def having(self, *attributes: str) -> Iterator[tuple[str, Any]]:
        """The modules that have all of these attributes, none of them None; all modules if none are asked for."""
        for name, module in self.modules.items():
            if all(getattr(module, attribute, None) is not None for attribute in attributes):
                yield name, module

    def numbers(self, word: str) -> set[float]:
        """The values of the config's number fields whose names have `word` in them, in nested records too."""
        return set(_numbers(self.config, word))


Mistake = Callable[[Case], Iterator[Repair]]


def others(values: set[float], than: float | None) -> list[float]:
    """Candidates that are not the value itself, nearest in ratio first."""
    kept = [v for v in values if v and v > 0 and (than is None or not math.isclose(v, than, rel_tol=1e-12))]
    return sorted(kept, key=lambda v: abs(math.log(v / than)) if than else v)


def _numbers(record: Any, word: str) -> Iterator[float]:
    for f in fields(record):
        value = getattr(record, f.name)
        if is_dataclass(value) and not isinstance(value, type):
            yield from _numbers(value, word)
        elif word in f.name and isinstance(value, int | float) and not isinstance(value, bool):
            yield value
