"""Which layers of a Mistral slide, by what config.json says of each, and what it leaves open."""

from __future__ import annotations

from typing import Any

import pytest

from zoo.errors import CheckpointError
from zoo.registry import installed
from zoo.weights import ForeignConfig

RAW = {
    "model_type": "ministral", "vocab_size": 61, "hidden_size": 24, "intermediate_size": 20, "num_hidden_layers": 3,
    "num_attention_heads": 6, "num_key_value_heads": 2, "sliding_window": 5,
}  # fmt: skip
FULL, SLIDING = "full_attention", "sliding_attention"


def read(**changes: Any) -> Any:
    return installed()["mistral"].dialect("hf").from_config(ForeignConfig({**RAW, **changes}))


def test_every_layer_slides_unless_its_type_says_otherwise() -> None:
    assert read().sliding_layers is None
    assert read(layer_types=[SLIDING, FULL, SLIDING]).sliding_layers == [0, 2]
    assert [read(layer_types=[FULL] * 3).window_of(i) for i in range(3)] == [None] * 3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"layer_types": [SLIDING, FULL]}, "it has 2 entries for 3 layers"),
        ({"layer_types": [SLIDING] * 4}, "it has 4 entries for 3 layers"),
        ({"layer_types": [SLIDING, FULL, "linear_attention"]}, "'linear_attention' is not known"),
        ({"layer_types": 3}, "layer_types=3 is not"),
        ({"layer_types": [SLIDING, FULL, FULL], "sliding_window": None}, "but there is no sliding_window"),
    ],
)
def test_types_that_do_not_say_it_of_every_layer_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(CheckpointError, match=words):
        read(**changes)
