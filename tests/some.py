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


def one_in(count: int, cases: Iterable[Any]) -> list[Any]:
    """The cases as pytest's parameters; all but the first of every `count` are marked slow.

    A case of several arguments is a tuple or a `pytest.param`, as in `parametrize`.
    """
    return [case if not i % count else _slow(case) for i, case in enumerate(cases)]


def _slow(case: Any) -> Any:
    if hasattr(case, "marks"):  # a pytest.param
        return pytest.param(*case.values, marks=[*case.marks, pytest.mark.slow], id=case.id)
    return pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.slow)
