"""What a template is given and writes down is counted, however deep."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from zoo.errors import ZooError
from zoo.text.sandbox.budget import Budget
from zoo.text.sandbox.costs import cost_of_operator
from zoo.text.sandbox.environment import TemplateSandbox

from .steps import call


def test_a_chat_template_takes_plain_values_only() -> None:
    from zoo.text.chat.template import plain

    value = {"a": (1, 2.5, None, True), "b": [{"c": "x"}]}
    copy = plain(value, "m")
    assert copy == {"a": [1, 2.5, None, True], "b": [{"c": "x"}]}
    assert copy["b"] is not value["b"]
    for wrong, told in ((b"x", "m is bytes"), ({1: 2}, "m has a key"), ([{"a": {1}}], r"m\[0\].a is set")):
        with pytest.raises(ZooError, match=told):
            plain(wrong, "m")


@pytest.mark.parametrize(
    ("source", "built", "ticks"),
    [
        ("{{ [1] ~ 'a' }}", 1, 0),
        ("{{ [1] == [2] }}", 2, 0),
        ("{{ 1 < 2 < [3]|length }}", 1, 0),
        ("{{ [[1], [2]] }}", 3, 0),
        ("{{ {'a': [1]} }}", 2, 0),
        ("{{ ([1],) }}", 2, 0),
        ("{{ [[1]][0:[1]|length] }}", 3, 0),
        ("{{ [[1]][0] }}", 2, 0),
        ("{{ {'a': 1}[[1]|join] }}", 2, 0),
        ("{% for a in [1, 2, 3] %}{{ [a] }}{% endfor %}", 4, 3),
        ("{% for a, b in [(1, 2)] %}{% endfor %}", 2, 1),
        ("{% for a in [] %}{% else %}{{ [1] }}{% endfor %}", 2, 0),
        ("{% macro m() %}{{ [1] }}{% endmacro %}{{ m() }}{{ m() }}", 2, 2),
        ("{% macro m() %}{{ caller() }}{{ caller() }}{% endmacro %}{% call m() %}{{ [1] }}{% endcall %}", 2, 3),
        ("{% set x = [1] %}{% if [2] %}{{ x if [3] else 1 }}{% endif %}", 3, 0),
    ],
)
def test_whatever_a_template_writes_down_is_counted_however_deep(
    source: str, built: int, ticks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zoo.text.sandbox.environment import _Environment

    seen: list[str] = []
    monkeypatch.setattr(_Environment, "built", lambda self, value: seen.append("built") or value)
    monkeypatch.setattr(_Environment, "tick", lambda self: seen.append("tick"))
    TemplateSandbox(source).render({})
    assert (seen.count("built"), seen.count("tick")) == (built, ticks)


def test_named_arguments_and_every_field_of_a_format_count() -> None:
    assert call("batch", [1], linecount=10_001).refused
    assert call("sort", ["a"], attribute="a.b.c").nanoseconds > call("sort", ["a"], attribute="a").nanoseconds
    for name in ("format", "format_map"):
        assert call(name, "%s {} {}", "abc").chars == 8 + 3 * (
            1000 + 3
        )  # each as wide as three digits say, and its text
    assert cost_of_operator(Budget(), "%", "%s %s {}", ("ab", "c")).chars == 8 + 2 * (1000 + 2)


@pytest.mark.parametrize(
    ("name", "owner", "args"),
    [
        ("split", "a " * 100, ()), ("rsplit", "a " * 100, ()), ("split", "a," * 100, (",",)),
        ("rsplit", "a," * 100, (",",)),
        ("splitlines", "a\n" * 100, ()), ("splitlines", "a\u2028\n" * 2000, ()), ("split", "aaaa" * 100, ("a",)),
    ],
)  # fmt: skip
def test_the_memory_of_pieces_is_reckoned(name: str, owner: str, args: tuple[Any, ...]) -> None:
    cost, pieces = call(name, owner, *args), getattr(owner, name)(*args)
    assert cost.bytes + 4 * cost.chars >= sys.getsizeof(pieces) + sum(map(sys.getsizeof, pieces))
    assert cost.items >= len(pieces)
