"""Parameters of which a few are tried in every run, and the others with the slow tests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def some(names: Iterable[str], *fast: str) -> list[Any]:
    """The names as pytest's parameters; those that are not among `fast` are marked slow."""
    names = list(names)
    assert set(fast) <= set(names), "a fast one is no longer there"
    return [name if name in fast else pytest.param(name, marks=pytest.mark.slow) for name in names]
