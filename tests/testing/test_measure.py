"""When two results count as the same."""

from __future__ import annotations

import math

import pytest
import torch

from zoo.testing.check import Broken
from zoo.testing.measure import difference


def test_a_difference_is_in_units_of_one_or_of_the_largest_number() -> None:
    a = torch.tensor([0.5, 0.25])
    assert difference(a, a + 0.125) == pytest.approx(0.125)
    assert difference(8 * a, 8 * a + 1) == pytest.approx(1 / 5)
    assert difference(a, a) == 0


def test_nothing_differs_from_nothing_and_nan_from_everything() -> None:
    assert difference(torch.zeros(0, 3), torch.zeros(0, 3)) == 0
    assert difference(torch.tensor([math.nan]), torch.tensor([math.nan])) == math.inf


def test_another_shape_is_another_result() -> None:
    with pytest.raises(Broken, match=r"shape \[2\], expected \[1\]"):
        difference(torch.zeros(2), torch.zeros(1))
