"""The numbers of a difference are those of numpy's own arithmetic in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from zoo.difference import tally
from zoo.difference.tally import Tally, measure

DRAW = torch.Generator().manual_seed(1)


@pytest.mark.parametrize("block", [1 << 22, 16, 1])  # whole, by rows, and rows cut into pieces
@pytest.mark.parametrize("dtypes", [(torch.float32, torch.float32), (torch.bfloat16, torch.float32)])
def test_numbers_are_numpys(block, dtypes, monkeypatch):
    monkeypatch.setattr(tally, "BLOCK", block)
    a = torch.randn(3, 5, 8, generator=DRAW)
    b = a.to(dtypes[0]).float().clone()
    b[1, :, 2] += 0.25
    a, b = a.to(dtypes[0]), b.to(dtypes[1])
    same, found = measure(a, b)
    x, y = a.double().numpy().ravel(), b.double().numpy().ravel()
    assert not same
    assert (found.numel, found.changed, found.not_finite) == (120, np.count_nonzero(x != y), 0)
    close = {"rel": 1e-12}  # float64 sums in another order
    assert found.relative == pytest.approx(np.linalg.norm(y - x) / np.linalg.norm(x), **close)
    assert found.cosine == pytest.approx(x @ y / np.linalg.norm(x) / np.linalg.norm(y), **close)
    assert found.largest == np.abs(y - x).max()


def test_equal_bits_and_equal_values_are_told_apart():
    a = torch.tensor([[0.0, 1.5, float("nan"), float("inf")]])
    assert measure(a, a.clone()) == (True, Tally(4, of_a=2.25, of_b=2.25, dot=2.25))
    signed = torch.tensor([[-0.0, 1.5, float("nan"), float("inf")]])
    same, found = measure(a, signed)
    assert (same, found.changed, found.relative) == (False, 0, 0.0)
    same, found = measure(a, a.half())
    assert (same, found.changed, found.relative) == (False, 0, 0.0)


def test_what_is_no_number_is_counted_and_enters_no_sum():
    a = torch.tensor([1.0, 2.0, float("nan"), float("inf"), 3.0])
    b = torch.tensor([1.0, float("nan"), 5.0, float("-inf"), 4.0])
    same, found = measure(a, b)
    assert not same
    assert (found.numel, found.changed, found.not_finite) == (5, 4, 3)
    assert (found.largest, found.relative) == (1.0, pytest.approx((1 / 10) ** 0.5))


def test_what_has_no_ratio_has_none():
    zeros, ones = torch.zeros(4), torch.ones(4)
    assert measure(zeros, zeros)[1].relative == 0
    found = measure(zeros, ones)[1]
    assert (found.relative, found.cosine) == (None, None)
    huge = torch.full((4,), 1e200, dtype=torch.float64)
    assert measure(huge, -huge)[1].relative is None  # the sum of squares overflows
    assert measure(torch.empty(0, 3), torch.empty(0, 3)) == (True, Tally())


def test_a_part_that_was_permuted_is_read_without_a_copy_of_it_all():
    a = torch.randn(6, 4, generator=DRAW)
    assert measure(a.mT, a.mT.contiguous()) == (True, measure(a.mT, a.mT)[1])
