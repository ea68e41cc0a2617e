"""Masks as the literature draws them."""

from __future__ import annotations

import pytest
import torch

from zoo.nn import Mask, causal, everything, sliding


def drawn(mask: Mask, size: int = 5) -> list[str]:
    """Rows of queries, x where a query may attend."""
    positions = torch.arange(size)
    allowed = mask(positions[None, :, None], positions[None, None, :])[0]
    return ["".join("x" if cell else "." for cell in row) for row in allowed.tolist()]


def test_causal_sees_itself_and_the_past() -> None:
    assert drawn(causal) == ["x....", "xx...", "xxx..", "xxxx.", "xxxxx"]


def test_everything_sees_everything() -> None:
    assert drawn(everything) == ["xxxxx"] * 5


def test_a_window_counts_the_query_itself() -> None:
    assert drawn(sliding(2)) == ["x....", "xx...", ".xx..", "..xx.", "...xx"]
    assert drawn(sliding(1)) == ["x....", ".x...", "..x..", "...x.", "....x"]


def test_a_two_sided_window_reaches_as_far_both_ways() -> None:
    assert drawn(Mask(is_causal=False, window=2)) == ["xx...", "xxx..", ".xxx.", "..xxx", "...xx"]


@pytest.mark.parametrize("mask", [causal, everything, sliding(2), Mask(is_causal=False, window=3)])
def test_a_mask_is_a_bool_per_pair_and_broadcasts_over_rows(mask: Mask) -> None:
    q, k = torch.arange(4)[None, :, None].expand(3, 4, 1), torch.arange(6)[None, None, :]
    allowed = mask(q, k)
    assert allowed.shape == (3, 4, 6)
    assert allowed.dtype == torch.bool


def test_equal_masks_share_what_a_span_keeps_for_them() -> None:
    assert {sliding(4): 1, causal: 2} == {Mask(window=4): 1, Mask(): 2}
