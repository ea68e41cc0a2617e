"""The variants of a config that the contract tries: each field with other values of its kind."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest

from tests.testing.install import Plant, plant  # noqa: F401 - a fixture
from zoo.anatomy.config import ModelConfig, RopeConfig
from zoo.anatomy.differing import differences
from zoo.registry import installed
from zoo.testing.variants import _changed_records, _instead_of_none, _others, flags, variants

# variants


@dataclass
class Small(ModelConfig):
    """A config."""

    family: str = "small"
    count: int = 4  # how many
    ratio: float = 0.25  # a share
    is_on: bool = False  # a switch
    act: str = "gelu"  # gelu | relu | silu
    sizes: list[int] | None = None  # some
    limit: int | None = None  # at most
    cap: float | None = None  # at most


@pytest.mark.parametrize(
    ("old", "kind", "doc", "found"),
    [
        (True, "bool", "", [False]),
        (5, "int", "", [6, 10, 15, 2, 4]),
        (1, "int", "", [2, 2, 3, 1, 0]),
        (0.5, "float", "", [0.75, 0.25, 0.5]),
        ("gelu", "str", "an activation: gelu | relu | silu", ["relu", "silu"]),
        ("x", "str", "no words", []),
        ([1, 2], "list[int]", "", [[1, 2, 3], [1, 2, "x"], [1]]),
        (None, "int | None", "", [3]),
        (None, "float | None", "", [7.5]),
        (None, "list[int] | None", "", [[0]]),
        (None, "str | None", "", []),
    ],
)
def test_a_field_takes_other_values_of_its_kind(old: Any, kind: str, doc: str, found: list[Any]) -> None:
    assert list(_others(old, kind, doc)) == found
    if old is None:
        assert list(_instead_of_none(kind)) == found


def test_a_variant_changes_one_field_and_words_each_in_turn() -> None:
    assert [name for name, _ in variants(Small()) if not name.startswith(("dtype", "bos", "eos", "pad"))] == [
        "count=5", "ratio=0.375", "is_on=True", "act='relu'", "act='silu'", "sizes=[0]", "limit=3", "cap=7.5"
    ]  # fmt: skip
    assert [name for name, _ in flags(Small())] == ["is_on=True"]
    changed = dict(variants(Small()))["count=5"]
    assert changed == Small(count=5)
    assert not [
        name for name, _ in variants(Small()) if name.startswith(("family", "hub", "gated", "license", "source"))
    ]


def test_what_differs_is_named_by_its_field_within_records_too() -> None:
    config = installed()["llama"].config_class.tiny()
    other = replace(config, norm_eps=0.05, rope=replace(config.rope, theta=7.0), hub="someone/else")
    assert differences(other, config) == [
        f"model.norm_eps: found 0.05, expected {config.norm_eps!r}",
        f"model.rope.theta: found 7.0, expected {config.rope.theta!r}",
    ]
    pictures = installed()["gemma3_vl"].config_class.tiny()
    without = SimpleNamespace(to_dict=lambda: {**pictures.to_dict(), "vision": None})
    told = differences(without, pictures)  # type: ignore[arg-type]
    assert f"model.vision.hidden_size: found None, expected {pictures.vision.hidden_size}" in told
    assert not [line for line in told if "{" in line]


def test_rope_is_changed_in_its_base_its_share_and_each_scaling() -> None:
    old = RopeConfig(1000.0, partial=0.5)
    found = list(_changed_records(old))
    assert [label for label, _ in found] == [
        "theta", "partial", "scaling=linear", "scaling=llama3", "scaling=yarn", "scaling=yarn"
    ]  # fmt: skip
    changed = [value for _, value in found]
    assert (changed[0].theta, changed[0].partial) == (3000.0, 0.5)
    assert (changed[1].theta, changed[1].partial) == (1000.0, 0.25)
    assert [c.factor for c in changed[2:]] == [4.0, 8.0, 4.0, 4.0]
    assert all((c.theta, c.partial) == (1000.0, 0.5) for c in changed[2:])
    assert {name.partition("=")[0] for name, _ in _changed_records(Small())} >= {"count", "act"}
    assert list(_changed_records(object())) == []
