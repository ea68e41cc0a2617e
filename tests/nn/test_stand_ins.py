"""Tokens that stand for pictures: which rows hold whole ones, what takes their places, and how far each sees."""

from __future__ import annotations

import pytest
import torch

from zoo.errors import UsageError
from zoo.nn import Span
from zoo.nn.stand_ins import check_places, ends_of_runs, places_of, put

SOFT = 9
TOKENS = torch.tensor([[1, SOFT, SOFT, 2, SOFT], [SOFT, SOFT, SOFT, 3, 4]])  # pictures of 2, 1 and 3 tokens


def test_padding_is_no_place() -> None:
    mask = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 0]]).bool()
    assert places_of(SOFT, TOKENS, Span(2, 5, TOKENS.device)).sum() == 6
    found = places_of(SOFT, TOKENS, Span(2, 5, TOKENS.device, attention_mask=mask))
    assert found.nonzero().tolist() == [[0, 2], [0, 4], [1, 0], [1, 1], [1, 2]]


@pytest.mark.parametrize("counts", [[2, 1, 3], [1, 1, 1, 3], [2, 1, 1, 1, 1]])
def test_whole_pictures_in_each_run_are_taken(counts: list[int]) -> None:
    check_places(TOKENS == SOFT, counts, of="an image", given="")


@pytest.mark.parametrize("counts", [[2, 2, 2], [2, 1], [2, 1, 3, 1], [6], [], [3, 3], [1, 2, 3]])
def test_a_picture_over_two_runs_or_another_number_is_refused(counts: list[int]) -> None:
    with pytest.raises(UsageError, match=r"the texts have \[3, 3\] places for tiles, some are given"):
        check_places(TOKENS == SOFT, counts, of="a tile", given="some")


def test_a_single_token_without_a_picture_is_the_models_own() -> None:
    check_places(torch.ones(2, 1, dtype=torch.bool), [], of="an image", given="")


def test_states_take_the_places_in_order() -> None:
    states = torch.arange(6.0)[:, None].expand(6, 2).double() + 1
    found = put(torch.zeros(2, 5, 2, dtype=torch.float32), TOKENS == SOFT, states.view(2, 3, 2))
    assert found.dtype == torch.float32
    assert found[..., 1].tolist() == [[0, 1, 2, 0, 3], [4, 5, 6, 0, 0]]


def test_each_of_a_run_sees_as_far_as_its_last() -> None:
    found = ends_of_runs(TOKENS == SOFT, torch.arange(10, 15)[None])
    assert found.tolist() == [[10, 12, 12, 13, 14], [12, 12, 12, 13, 14]]


def test_a_run_ends_where_a_document_does() -> None:
    """Positions begin anew there."""
    found = ends_of_runs(torch.tensor([[False, True, True, True, True]]), torch.tensor([[0, 1, 2, 0, 1]]))
    assert found.tolist() == [[0, 2, 2, 1, 1]]
    found = ends_of_runs(torch.tensor([[False, True, True, False, True]]), torch.tensor([[0, 1, 2, 0, 1]]))
    assert found.tolist() == [[0, 2, 2, 0, 1]]
