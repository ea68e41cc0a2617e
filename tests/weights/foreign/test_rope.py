"""Rotary settings in every spelling that config.json has had, read, refused and written."""

from __future__ import annotations

import json
from typing import Any

import pytest

from zoo.anatomy.config import RopeConfig
from zoo.errors import CheckpointError, UsageError
from zoo.weights import ForeignConfig, write_rope


def rope(raw: dict[str, Any], **settings: Any) -> RopeConfig:
    """What the rope keys say, after all keys have been accounted for."""
    hf = ForeignConfig(raw)
    found = hf.rope(**settings)
    hf.check()
    return found


def refused(raw: dict[str, Any]) -> str:
    with pytest.raises(CheckpointError) as error:
        rope(raw)
    return str(error.value)


ROPES: dict[str, tuple[dict[str, Any], RopeConfig]] = {
    "nothing": ({}, RopeConfig()),
    "theta alone": ({"rope_theta": 5e5, "rope_scaling": None}, RopeConfig(theta=5e5)),
    "old, type": (
        {"rope_theta": 1e6, "rope_scaling": {"type": "linear", "factor": 4}}, RopeConfig(1e6, "linear", 4.0)
    ),
    "old, rope_type": (
        {"rope_theta": 5e5, "rope_scaling": {
            "factor": 8.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0, "original_max_position_embeddings": 8192,
            "rope_type": "llama3",
        }},
        RopeConfig(5e5, "llama3", 8.0, 8192),
    ),
    "old, both": (
        {"rope_scaling": {"type": "linear", "rope_type": "linear", "factor": 4.0}}, RopeConfig(1e4, "linear", 4.0)
    ),
    "old, one of both null": (
        {"rope_scaling": {"type": "dynamic", "rope_type": None, "factor": 2.0}}, RopeConfig(1e4, "dynamic", 2.0)
    ),
    "new": ({"rope_parameters": {"rope_type": "default", "rope_theta": 7.0}}, RopeConfig(7.0)),
    "new, and the same beside it": (
        {"rope_theta": 7.0, "rope_parameters": {"rope_type": "dynamic", "rope_theta": 7.0, "factor": 2.0}},
        RopeConfig(7.0, "dynamic", 2.0),
    ),
    "partial beside": ({"partial_rotary_factor": 0.5}, RopeConfig(partial=0.5)),
    "partial inside": (
        {"rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 0.25}}, RopeConfig(partial=0.25)
    ),
    "yarn, nulls": (
        {"rope_scaling": {"type": "yarn", "factor": 40, "original_max_position_embeddings": 4096, "beta_fast": None,
                          "mscale": 0.707, "mscale_all_dim": 0.707, "truncate": False}},
        RopeConfig(1e4, "yarn", 40.0, 4096, mscale=0.707, mscale_all_dim=0.707, truncate=False),
    ),
    "longrope, as Phi-3": (
        {"original_max_position_embeddings": 4096,
         "rope_scaling": {"type": "su", "short_factor": [1, 2.5], "long_factor": [3.0, 4.0]}},
        RopeConfig(1e4, "longrope", original_max_seq_len=4096, short_factor=[1.0, 2.5], long_factor=[3.0, 4.0]),
    ),
    "longrope, a factor": (
        {"rope_scaling": {"type": "longrope", "short_factor": [1.0], "long_factor": [3.0], "factor": 32.0}},
        RopeConfig(1e4, "longrope", 32.0, short_factor=[1.0], long_factor=[3.0]),
    ),
    "longrope, a factor of 1": (
        {"rope_scaling": {"type": "longrope", "short_factor": [1.0], "long_factor": [3.0], "factor": 1.0}},
        RopeConfig(1e4, "longrope", short_factor=[1.0], long_factor=[3.0], attention_factor=1.0),
    ),
    "default with a factor of 1": ({"rope_scaling": {"type": "default", "factor": 1.0}}, RopeConfig()),
}  # fmt: skip


@pytest.mark.parametrize("spelling", ROPES)
def test_rope_is_read_in_every_spelling(spelling: str) -> None:
    raw, expected = ROPES[spelling]
    assert rope(raw, partial=1.0) == expected


@pytest.mark.parametrize("spelling", ROPES)
def test_rope_is_written_as_it_is_read(spelling: str) -> None:
    _, config = ROPES[spelling]
    written = {"rope_parameters": write_rope(config, partial=1.0)}
    assert rope(json.loads(json.dumps(written)), partial=1.0) == config


@pytest.mark.slow
@pytest.mark.parametrize("spelling", [name for name, (_, config) in ROPES.items() if config.scaling != "none"])
def test_transformers_reads_the_rope_we_write(spelling: str) -> None:
    """What we write for transformers says to it what it says to us: the same frequencies and the same factor."""
    rope_utils = pytest.importorskip("transformers.modeling_rope_utils", reason="the reference extra is not installed")
    from transformers import LlamaConfig

    from zoo.anatomy.frequencies import attention_factor, frequencies

    _, config = ROPES[spelling]
    pairs = len(config.short_factor or range(8))
    head_dim = int(2 * pairs / config.partial)
    theirs = LlamaConfig(head_dim=head_dim, max_position_embeddings=16384, rope_parameters=write_rope(config))
    expected, factor = rope_utils.ROPE_INIT_FUNCTIONS[config.scaling](theirs, "cpu", seq_len=9)
    assert frequencies(2 * pairs, config, 16384, 9) == pytest.approx(expected.tolist(), rel=1e-6)
    assert attention_factor(config, 16384) == pytest.approx(factor, rel=1e-12)


def test_the_familys_defaults_serve_where_the_file_says_nothing() -> None:
    assert rope({}, theta=1e6, partial=0.5) == RopeConfig(1e6, partial=0.5)
    hf = ForeignConfig({"rope_parameters": {"rope_theta": 3.0}})
    assert hf.rope(theta=1e6).theta == 3.0
    assert "rope_theta" not in hf.assumed


def test_nested_groups_are_read_by_layer_type() -> None:
    raw = {
        "rope_parameters": {
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
        }
    }
    assert rope(raw, layer_type="full_attention") == RopeConfig(1e6, "linear", 8.0)
    assert rope(raw, layer_type="sliding_attention") == RopeConfig(1e4)
    assert "full_attention, sliding_attention is not known" in refused(raw)


MROPE = {"type": "default", "rope_type": "default", "mrope_section": [16, 24, 24]}


EXTRAS = pytest.mark.parametrize(
    ("group", "told"),
    [
        (MROPE, "mrope_section=[16, 24, 24]"),
        (MROPE | {"mrope_interleaved": True}, "mrope_section=[16, 24, 24], mrope_interleaved=True"),
        ({"type": "yarn", "factor": 4.0, "finetuned": True, "attn_factor": 1.0, "extrapolation_factor": 1},
         "finetuned=True, attn_factor=1.0, extrapolation_factor=1"),
        ({"type": "linear", "factor": 4.0, "attn_factor": 1}, "attn_factor=1"),
    ],
)  # fmt: skip


@EXTRAS
def test_extras_without_effect_are_told(group: dict[str, Any], told: str) -> None:
    hf = ForeignConfig({"rope_theta": 1e4, "rope_scaling": group})
    plain = {k: v for k, v in group.items() if k in ("type", "factor")}
    assert hf.rope() == rope({"rope_theta": 1e4, "rope_scaling": plain})
    assert set(told.split(", ")) <= set(hf.told["rope_scaling"].split(": ")[1].partition(" changes")[0].split(", "))


@pytest.mark.slow
@EXTRAS
def test_extras_without_effect_are_told_and_transformers_computes_without_them_too(
    group: dict[str, Any], told: str
) -> None:
    hf = ForeignConfig({"rope_theta": 1e4, "rope_scaling": group})
    plain = {k: v for k, v in group.items() if k in ("type", "factor")}
    assert hf.rope() == rope({"rope_theta": 1e4, "rope_scaling": plain})
    assert set(told.split(", ")) <= set(hf.told["rope_scaling"].split(": ")[1].partition(" changes")[0].split(", "))

    from transformers.models.qwen2.modeling_qwen2 import Qwen2Config, Qwen2RotaryEmbedding  # slow to import

    def frequencies(scaling: dict[str, Any]) -> Any:
        c = Qwen2Config(max_position_embeddings=64, rope_theta=1e4, rope_scaling={**scaling})
        return Qwen2RotaryEmbedding(c).inv_freq

    assert frequencies(group).equal(frequencies(plain))


@pytest.mark.parametrize(
    ("group", "words"),
    [
        ({"type": "linear", "factor": 2.0, "magic": 3}, "magic=3 is not known for 'linear'"),
        ({"type": "linear", "factor": 2.0, "beta_fast": 3}, "beta_fast=3 is not known for 'linear'"),
        ({"type": "dynamic", "factor": 1.0, "alpha": 1000.0}, "alpha=1000.0 is not known for 'dynamic'"),
        ({"type": "yarn", "factor": 2.0, "attn_factor": 1.5}, "attn_factor=1.5 is not known for 'yarn'"),
        ({"type": "yarn", "factor": 2.0, "attn_factor": True}, "attn_factor=True is not known for 'yarn'"),
        ({"type": "yarn", "factor": 2.0, "extrapolation_factor": 2}, "extrapolation_factor=2 is not known"),
        ({"type": "linear", "factor": 2.0, "finetuned": True}, "finetuned=True is not known for 'linear'"),
        ({"type": "default", "mrope_section": "16"}, "mrope_section='16' is not known for 'none'"),
        ({"type": "lineal", "factor": 2.0}, "the scaling 'lineal' is not known\ndid you mean: linear"),
        ({"factor": 8.0}, "factor=8.0 is not known for 'none'"),
        ({"type": "linear", "rope_type": "yarn", "factor": 2.0}, "rope_type says 'yarn' and type says 'linear'"),
        ({"type": "linear"}, "factor is missing, which 'linear' needs"),
        ({"type": "yarn", "factor": None}, "factor is missing, which 'yarn' needs"),
        (
            {"type": "llama3", "factor": 8.0, "high_freq_factor": 4.0},
            "low_freq_factor is missing, which 'llama3' needs",
        ),
        ({"type": "linear", "factor": "2"}, "rope_parameters.factor='2' is not float"),
        ({"type": "longrope", "short_factor": [1.0], "long_factor": "x"}, "long_factor='x'"),
        ({"type": "longrope", "short_factor": [1.0]}, "needs model.rope.short_factor and model.rope.long_factor"),
        ({"type": "longrope", "short_factor": [1.0], "long_factor": [1.0], "factor": "x"}, "factor='x'"),
        ({"type": "ntk", "factor": 2.0}, "the scaling 'ntk' is not known"),  # of a fixed base in vLLM
        ({"type": "yarn", "factor": 2.0, "original_max_position_embeddings": 0}, "original_max_seq_len=0 is below 2"),
        ({"type": "yarn", "factor": 2.0, "beta_fast": 0}, "beta_fast=0.0 is not above 0"),
        (
            {"type": "llama3", "factor": 8.0, "low_freq_factor": 4.0, "high_freq_factor": 1.0},
            "low_freq_factor=4.0 is above high_freq_factor=1.0",
        ),
        ({"partial_rotary_factor": 0.5}, "a partial_rotary_factor of 0.5 is not supported"),
        ({"type": "yarn", "factor": 4.0, "truncate": None}, "truncate is null, which is neither true nor false"),
        ({"rope_theta": "x"}, "theta='x' is not float"),
        ({"rope_theta": 0}, "theta=0.0 is not above 1"),
        ({"rope_theta": "???"}, "is not a value"),
        ([1, 2], "[1, 2] is not a group of keys"),
        ("linear", "'linear' is not a group of keys"),
        (3, "3 is not a group of keys"),
    ],
)
def test_rope_keys_that_make_no_sense_are_refused(group: Any, words: str) -> None:
    assert words in refused({"rope_scaling": group})
    assert words in refused({"rope_parameters": group})


def test_a_share_of_the_channels_is_for_families_that_say_what_its_absence_means() -> None:
    """transformers reads it in every config.json, and most of its models rotate all channels whatever it says."""
    assert "a partial_rotary_factor of 0.5 is not supported" in refused({"partial_rotary_factor": 0.5})
    assert rope({"partial_rotary_factor": 1.0}) == RopeConfig()
    with pytest.raises(UsageError, match=r"cannot store model\.rope\.partial=0\.5"):
        write_rope(RopeConfig(partial=0.5))


def test_two_original_lengths_are_refused_unless_they_agree() -> None:
    """transformers takes the one beside the group, which older releases do not read there."""
    group = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
    what = "original_max_position_embeddings is 64, but outside the group it is 16"
    assert what in refused({"original_max_position_embeddings": 16, "rope_scaling": group})
    assert rope({"original_max_position_embeddings": 64, "rope_scaling": group}).original_max_seq_len == 64


def test_both_spellings_of_the_group_at_once_are_refused() -> None:
    assert "rope_scaling: the key is not known" in refused(
        {"rope_parameters": {"rope_theta": 2.0}, "rope_scaling": {"type": "linear", "factor": 2.0}}
    )
