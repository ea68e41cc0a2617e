"""Gemma's config.json: what is taken where it is silent, and what is refused because readers differ in it."""

from __future__ import annotations

from typing import Any

import pytest

from zoo.anatomy.config import RopeConfig
from zoo.errors import CheckpointError, ConfigError
from zoo.registry import installed
from zoo.weights import ForeignConfig

SIZES = {
    "vocab_size": 61, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 6, "num_attention_heads": 6,
    "num_key_value_heads": 2, "head_dim": 10,
}  # fmt: skip
GEMMA1 = {"model_type": "gemma", **SIZES}
GEMMA2 = {"model_type": "gemma2", "query_pre_attn_scalar": 7, **SIZES}
GEMMA3 = {**GEMMA2, "model_type": "gemma3_text"}
LINEAR = {"rope_type": "linear", "factor": 8.0}


def read(raw: dict[str, Any], **changes: Any) -> Any:
    hf = ForeignConfig({**raw, **changes})
    config = installed()["gemma"].dialect("hf").from_config(hf)
    hf.check()
    return config


def test_absent_caps_and_windows_are_those_of_the_generation_and_null_is_none() -> None:
    assert (read(GEMMA2).attn_softcap, read(GEMMA2).final_softcap, read(GEMMA2).sliding_window) == (50.0, 30.0, 4096)
    assert read(GEMMA2, attn_logit_softcapping=None).attn_softcap is None
    assert read(GEMMA3).attn_softcap is None


@pytest.mark.parametrize("raw", [GEMMA1, GEMMA2, GEMMA3], ids=["1", "2", "3"])
def test_only_the_old_key_may_say_gelu_and_mean_its_tanh_form(raw: dict[str, Any]) -> None:
    read(raw, hidden_act="gelu", hidden_activation="gelu_pytorch_tanh")
    with pytest.raises(CheckpointError, match="hidden_activation: 'gelu' is not known"):
        read(raw, hidden_activation="gelu")


@pytest.mark.parametrize(
    ("raw", "changes", "words"),
    [
        (GEMMA2, {"rope_parameters": {"full_attention": LINEAR}}, "full_attention is not known for 'none'"),
        (GEMMA3, {"rope_scaling": {"full_attention": LINEAR}}, "full_attention is not known for 'none'"),
        (GEMMA3, {"rope_parameters": LINEAR}, "it has neither a group full_attention"),
        (GEMMA2, {"sliding_window_pattern": 3}, "sliding_window_pattern: 3 is not supported, only 2 is"),
        (GEMMA3, {"sliding_window_pattern": "6"}, "sliding_window_pattern='6' is not int"),
        (GEMMA3, {"layer_types": 3}, "layer_types=3 is not"),
        (GEMMA3, {"rope_local_base_freq": "x"}, "rope_local_base_freq"),
        (GEMMA3, {"model_type": "llama"}, "'llama' is not known"),
    ],
)
def test_keys_that_readers_understand_differently_are_refused(raw: Any, changes: Any, words: str) -> None:
    with pytest.raises(CheckpointError, match=words):
        read(raw, **changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sliding_window_pattern": 0}, "model.local_per_global=-1 is below 0"),
        ({"sliding_window": None}, "model.local_per_global=5 needs model.sliding_window"),
        ({"query_pre_attn_scalar": 0}, "model.query_pre_attn_scalar=0.0 is not above 0"),
    ],
)
def test_values_that_are_no_model_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read(GEMMA3, **changes)


def test_the_older_word_for_the_kind_of_scaling_is_read() -> None:
    """transformers 5.23 ignores it for Gemma 3, and then stretches nothing (docs/deviations.md)."""
    found = read(GEMMA3, rope_scaling={"type": "linear", "factor": 8.0})
    assert (found.rope, found.local_rope) == (RopeConfig(1e6, "linear", 8.0), RopeConfig(1e4))
