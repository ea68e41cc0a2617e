"""A step of a chat template, reckoned or refused, for tests."""

from __future__ import annotations

from typing import Any

import pytest

from zoo.text.sandbox.budget import Budget
from zoo.text.sandbox.costs import Cost, cost_of_call
from zoo.text.sandbox.environment import SecurityError


def call(name: str, owner: Any, *args: Any, **kwargs: Any) -> Cost:
    return cost_of_call(Budget(), name, owner, args, kwargs)


def refused(work: Any, *args: Any) -> None:
    with pytest.raises(SecurityError):
        work(*args)
