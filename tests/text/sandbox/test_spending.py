"""What all steps of a chat template may write, hold and take together, and that it is counted before it is done."""

from __future__ import annotations

import pytest

from zoo.text.sandbox import budget as module
from zoo.text.sandbox.budget import Budget
from zoo.text.sandbox.costs import Cost

from .steps import refused


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Budget:
    monkeypatch.setattr(module, "MAX_CHARS", 10)
    monkeypatch.setattr(module, "MAX_ITEMS", 4)
    return Budget()


def test_all_output_together_has_a_limit(small: Budget) -> None:
    assert small.spend("a" * 6) + small.spend("b" * 4) + small.spend("") == "aaaaaabbbb"
    refused(small.spend, "c")


def test_a_value_is_weighed_unless_it_was_given(small: Budget) -> None:
    assert small.weigh(2**79) == 2**79  # 80 bits
    refused(small.weigh, 2**80)
    assert small.weigh(["abcdef"]) == ["abcdef"]
    refused(small.weigh, ["abcdefg"])
    long = ["abcdefg"]
    assert small.weigh(long, long) is long
    refused(small.weigh, range(5))


@pytest.mark.parametrize(
    ("at_the_limit", "beyond"),
    [
        (Cost(chars=10), Cost(chars=11)),
        (Cost(items=4), Cost(items=5)),
        (Cost(bytes=256 << 20), Cost(bytes=(256 << 20) + 1)),
        (Cost(chars=10, bytes=(256 << 20) - 40), Cost(chars=10, bytes=(256 << 20) - 39)),
        (Cost(nanoseconds=1e9), Cost(nanoseconds=2e9)),
        (Cost(), Cost(refused="it is too much")),
    ],
)
def test_a_cost_at_a_limit_is_allowed_and_one_beyond_is_not(small: Budget, at_the_limit: Cost, beyond: Cost) -> None:
    small.allow(at_the_limit)
    refused(small.allow, beyond)


def test_memory_is_counted_whether_or_not_it_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 1000)
    for work in (
        lambda budget: budget.weigh("x" * 200),
        lambda budget: budget.spend("x" * 70),
        lambda budget: budget.weight([1]) and budget._weights.clear(),
        lambda budget: budget.pieces(["x" * 50] * 2, "x" * 100),
        lambda budget: budget.weigh({"a": 1}, ()),
    ):
        budget = Budget()
        work(budget)
        refused(lambda work=work, budget=budget: [work(budget) for _ in range(9)])


def test_what_a_list_is_made_of_weighs_it_without_going_through_it() -> None:
    budget, part, whole = Budget(), ["ab"], [0]
    budget.know(whole, (3, part), (1, "xyz"))
    assert (budget.weight(whole), budget.depth(whole)) == (2 + 3 * 6 + 3, 1)
    budget.know(nothing := [], *[])
    assert (budget.weight(nothing), budget.depth(nothing)) == (2, 1)
    budget.know(text := "abc", (9, part))
    assert budget.weight(text) == 3
    pieces = budget.pieces(["ab", "c"], "ab c")
    assert (budget.weight(pieces), budget.depth(pieces)) == (2 + 4 + 2 * 2, 1)


def test_joining_and_comparing_are_reckoned_before(small: Budget) -> None:
    small.check_sum(["a" * 6, "b" * 4])
    refused(small.check_sum, ["a" * 6, "b" * 5])
    refused(small.check_sum, [["a"]])  # written out as 10 * 5 at most
    small.check_comparison("a" * (1 << 25))  # compared at once; a list item by item
    small.know(long := [0], (1 << 25, "a"))
    refused(small.check_comparison, long)
    refused(Budget().tick, 2e9)
    Budget().tick(1e9)
