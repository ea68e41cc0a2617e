"""Traits as tables show them."""

from __future__ import annotations

import pytest

from zoo.anatomy.config import RopeConfig
from zoo.anatomy.traits import heads_in_words, mlp_in_words, rope_in_words


@pytest.mark.parametrize(("heads", "kv", "shown"), [(12, 12, "MHA 12"), (32, 8, "GQA 32/8"), (8, 1, "MQA 8")])
def test_heads_are_named_after_how_they_share_keys(heads: int, kv: int, shown: str) -> None:
    assert heads_in_words(heads, kv) == shown


@pytest.mark.parametrize(
    ("rope", "shown"),
    [
        (RopeConfig(theta=10_000.0), "RoPE 10k"),
        (RopeConfig(theta=1e6, scaling="linear", factor=4.0), "RoPE 1M PI ×4"),
        (RopeConfig(theta=500_000.0, scaling="llama3", factor=8.0), "RoPE 500k llama3 ×8"),
        (RopeConfig(theta=10_000.0, partial=0.5), "RoPE 10k on 50%"),
    ],
    ids=str,
)
def test_rotary_positions_tell_base_share_and_scaling(rope: RopeConfig, shown: str) -> None:
    assert rope_in_words(rope) == shown


@pytest.mark.parametrize(
    ("activation", "is_gated", "shown"),
    [
        ("gelu", False, "GELU 96"), ("gelu_tanh", False, "GELU (tanh) 96"), ("relu", False, "ReLU 96"),
        ("silu", True, "SwiGLU 96"), ("gelu_tanh", True, "GeGLU 96"),
    ],
)  # fmt: skip
def test_mlps_tell_which_gelu(activation: str, is_gated: bool, shown: str) -> None:
    assert mlp_in_words(activation, 96, is_gated=is_gated) == shown
