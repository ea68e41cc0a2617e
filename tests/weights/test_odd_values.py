"""A config.json with any JSON value under any of its keys is read, or refused in words."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import suppress
from random import Random
from typing import Any

import pytest

from zoo.errors import CheckpointError, ZooError
from zoo.registry import installed
from zoo.weights import ForeignConfig

VALUES: list[Any] = [
    0, -1, None, [], {}, "x", "", 1.5, True, [1], ["x"], {"a": 1}, [None], [[]], {"0": {}}, 3, 9000,
]  # fmt: skip


def written() -> Iterator[tuple[str, dict[str, Any]]]:
    """The config.json of each family's tiny model."""
    for name in installed().families:
        if "hf" in (family := installed()[name]).formats:
            yield name, family.dialect("hf").to_config(family.config_class.tiny())


def read(name: str, raw: Mapping[str, Any]) -> None:
    hf = ForeignConfig(raw)
    installed()[name].dialect("hf").from_config(hf)
    hf.check()


def paths(raw: Mapping[str, Any], *above: str) -> Iterator[tuple[str, ...]]:
    for key, value in raw.items():
        yield (*above, key)
        if isinstance(value, dict):
            yield from paths(value, *above, key)


@pytest.mark.parametrize("named", [[[]], [{}], [None], {"a": 1}, 7])
def test_a_class_that_is_no_name_is_refused(named: Any) -> None:
    for name, raw in written():
        if "architectures" in raw:
            with pytest.raises(CheckpointError, match="architectures"):
                read(name, raw | {"architectures": named})


@pytest.mark.slow
def test_whatever_stands_under_a_key_nothing_but_words_comes_of_it() -> None:
    drawn = Random(0)
    for name, raw in written():
        for *above, key in [*paths(raw)] * 6:
            other = copy.deepcopy(raw)
            group = other
            for step in above:
                group = group[step]
            group[key] = drawn.choice(VALUES)
            with suppress(ZooError):
                read(name, other)
