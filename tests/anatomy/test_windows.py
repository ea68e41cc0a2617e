"""Layers with a window: their numbers are those of layers, and words tell how many there are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from zoo.anatomy import WindowedConfig, all_but_every
from zoo.errors import ConfigError
from zoo.registry import installed

SIZES = {"vocab_size": 9, "hidden_size": 8, "intermediate_size": 8, "num_heads": 2, "num_kv_heads": 2, "head_dim": 4}


def config(**changed: Any) -> WindowedConfig:
    return WindowedConfig(family="x", num_layers=4, **SIZES, **changed)


def test_a_window_is_of_the_named_layers_or_of_all() -> None:
    assert [config(sliding_window=3).window_of(i) for i in range(4)] == [3] * 4
    some = config(sliding_window=3, sliding_layers=[0, 2])
    assert [some.window_of(i) for i in range(4)] == [3, None, 3, None]
    assert all_but_every(4, 6) == [0, 1, 2, 4, 5]


def test_words_tell_how_many_layers_have_one() -> None:
    words = [
        config(**c).window_in_words() for c in ({}, {"sliding_window": 3}, {"sliding_window": 3, "sliding_layers": [1]})
    ]
    assert words == ["", ", window 3", ", window 3 in 1 of 4 layers"]


@pytest.mark.parametrize("layers", [[4], [1, 1], [2, 0], [-1]])
def test_numbers_of_no_layer_are_refused(layers: list[int]) -> None:
    with pytest.raises(ConfigError, match=r"model.sliding_layers=.* from 0 to 3, each once, in order"):
        config(sliding_window=3, sliding_layers=layers)


def test_the_advice_for_a_model_cut_short_is_a_list_that_it_takes() -> None:
    with pytest.raises(ConfigError) as error:
        config(sliding_window=3, sliding_layers=[0, 2, 4, 6])
    assert error.value.hint == "those of the 4 layers: 'model.sliding_layers=[0,2]'"
    assert config(sliding_window=3, sliding_layers=[0, 2]).sliding_layers == [0, 2]
    with pytest.raises(ConfigError, match=r"'model.sliding_layers=\[1\]'"):
        config(sliding_window=3, sliding_layers=[1, "x"])


@pytest.mark.parametrize("name", ["cohere", "exaone4", "olmo2", "smollm3"])
def test_a_window_of_unnamed_layers_is_refused_where_the_format_names_them(name: str) -> None:
    with pytest.raises(ConfigError, match="need each other"):
        replace(installed()[name].config_class.tiny(), sliding_layers=None)
