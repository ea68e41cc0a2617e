"""Ranks that are processes: what they give comes back whole, and one that gives nothing is named."""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch

from zoo.testing.apart import over_ranks
from zoo.testing.check import Broken


def numbers(rank: int, count: int) -> Any:
    return {"rank": rank, "tensor": torch.arange(count) * rank}


def ending(rank: int, which: int) -> int:
    if rank == which:
        os._exit(3)
    return rank


def raising(rank: int, which: int) -> int:
    if rank == which:
        raise ValueError("no")
    return rank


def test_a_tensor_comes_back_from_a_rank_that_has_ended() -> None:
    for rank, found in enumerate(over_ranks(numbers, 70_000)):
        assert found["rank"] == rank
        assert torch.equal(found["tensor"], torch.arange(70_000) * rank)


def test_the_rank_that_ends_or_raises_is_named() -> None:
    with pytest.raises(Broken, match="rank 1 died"):
        over_ranks(ending, 1)
    with pytest.raises(Broken, match=r"rank 1: ValueError: no \(test_apart\.py:\d+\)"):
        over_ranks(raising, 1)
