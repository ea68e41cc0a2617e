"""Keys of T5's config.json that are of a wrong type or no model, refused before anything is built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from zoo.errors import CheckpointError, ConfigError
from zoo.files.tensor_info import TensorInfo
from zoo.registry import installed
from zoo.weights import ForeignConfig

RAW = {
    "model_type": "t5", "vocab_size": 61, "d_model": 24, "d_ff": 40, "d_kv": 5, "num_layers": 2, "num_heads": 3,
    "is_encoder_decoder": True, "decoder_start_token_id": 0,
}  # fmt: skip


def read(**changes: Any) -> Any:
    return installed()["t5"].dialect("hf").from_config(ForeignConfig({**RAW, **changes}))


@pytest.mark.parametrize(
    ("key", "value"),
    [("num_decoder_layers", "2"), ("tie_word_embeddings", "false"), ("scale_decoder_outputs", 0)],
)
def test_values_of_a_wrong_type_are_refused_by_name(key: str, value: Any) -> None:
    with pytest.raises(CheckpointError, match=f"{key}={value!r} is not"):
        read(**{key: value})


@pytest.mark.parametrize(
    ("said", "copies", "words"),
    [
        ("gated-gelu", {"dense_act_fn": "relu"}, "dense_act_fn: 'relu', but feed_forward_proj is 'gated-gelu'"),
        ("gated-silu", {"dense_act_fn": "gelu_new"}, "dense_act_fn: 'gelu_new'"),
        ("gated-gelu", {"is_gated_act": False}, "is_gated_act: False is not supported, only True is"),
        ("relu", {"is_gated_act": True}, "is_gated_act: True"),
    ],
)
def test_copies_of_the_activation_that_say_otherwise_are_refused(said: str, copies: Any, words: str) -> None:
    with pytest.raises(CheckpointError, match=words):
        read(feed_forward_proj=said, **copies)
    assert read(feed_forward_proj="gated-gelu", dense_act_fn="gelu_new", is_gated_act=True).activation == "gelu_tanh"


@pytest.mark.parametrize(("flavour", "is_scaled"), [("t5", True), ("mt5", False), ("umt5", True)])
def test_what_enters_a_tied_head_is_scaled_where_the_reference_scales_it(flavour: str, is_scaled: bool) -> None:
    """UMT5 in every release of transformers; one with a head of its own is what transformers 5 wrongly calls tied."""
    assert read(model_type=flavour, tie_word_embeddings=True).scale_outputs == is_scaled
    assert read(model_type=flavour).scale_outputs == is_scaled
    assert not read(model_type=flavour, tie_word_embeddings=False).scale_outputs


@pytest.mark.parametrize(
    ("flavour", "says", "is_tied"),
    [("t5", {}, True), ("t5", {"scale_decoder_outputs": True}, True), ("t5", {"scale_decoder_outputs": False}, False),
     ("mt5", {}, False), ("umt5", {}, False), ("umt5", {"scale_decoder_outputs": True}, False)],
)  # fmt: skip
def test_a_head_that_is_there_is_its_own_where_a_file_never_scales(
    flavour: str, says: dict[str, Any], is_tied: bool
) -> None:
    """transformers 5 writes tie_word_embeddings true whatever the model; a T5 that scales has a copy beside."""
    head = {"lm_head.weight": TensorInfo("lm_head.weight", "float32", (61, 24), Path("x"), 0, 0)}
    for tensors, expected in ((head, is_tied), ({}, True)):
        keys = ForeignConfig({**RAW, "model_type": flavour, "tie_word_embeddings": True, **says}, tensors=tensors)
        assert installed()["t5"].dialect("hf").from_config(keys).tie_embeddings == expected


def test_buckets_for_two_directions_are_at_least_four() -> None:
    assert read(relative_attention_num_buckets=4).num_buckets == 4
    with pytest.raises(ConfigError, match=r"model\.num_buckets=3 is below 4"):
        read(relative_attention_num_buckets=3)
