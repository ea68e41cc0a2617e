"""Keys of released files that a family refuses at other values, or reads as another program would not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.reference.more import CONFIGS
from zoo.errors import CheckpointError, ConfigError
from zoo.registry import installed
from zoo.weights import ForeignConfig


def read(case: str, *dropped: str, **changed: Any) -> Any:
    """The config of a tiny checkpoint in the released files' spelling, with keys changed."""
    kind, architecture, keys = CONFIGS[case]
    raw = {"model_type": kind, "architectures": [architecture], **keys, **changed}
    foreign = ForeignConfig({name: value for name, value in raw.items() if name not in dropped})
    (family, _), *_ = installed().detect(foreign.raw, "hf")
    config = family.dialect("hf").from_config(foreign)
    foreign.check()
    return config


@pytest.mark.parametrize("case", CONFIGS)
def test_every_key_of_the_released_spelling_is_known(case: str) -> None:
    read(case)


INSIDE = {**CONFIGS["phi4-mini"][2]["rope_scaling"], "original_max_position_embeddings": 32}
REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "a base beside OLMo 3's groups": ("olmo3", {"rope_theta": 10000}, "rope_theta: 10000 is not supported"),
    "a scaling of no kind of OLMo 3's layers": (
        "olmo3", {"rope_scaling": None, "rope_parameters": {"rope_type": "linear", "factor": 2.0}},
        "neither a group full_attention",
    ),
    "a context beside OLMo 3's groups": ("olmo3", {
        "rope_scaling": None, "original_max_position_embeddings": 8,
        "rope_parameters": {"full_attention": {"rope_type": "yarn", "factor": 2.0}},
    }, "8 stands beside the groups"),
    "an OLMo 3 without window": ("olmo3", {"sliding_window": None}, "null is not the window"),
    "two original contexts": ("phi4-mini", {"rope_scaling": INSIDE}, "but outside the group it is 64"),
    "YaRN in a Phi-3": ("phi3", {"rope_scaling": {"type": "yarn", "factor": 2.0}}, "stretched by longrope alone"),
    "a Phi-3 with biases": ("phi3", {"attention_bias": True}, "True is not supported"),
    "layers with a window of none": ("smollm3", {"layer_types": ["sliding_attention"] * 4}, "but use_sliding_window"),
    "too few layers": ("smollm3", {"no_rope_layers": [1, 0]}, "2 entries for 4 layers"),
    "another order of layers": ("command-r7b", {"order_of_interleaved_layers": "global_first"}, "is not supported"),
    "a Cohere 2 with norms": ("command-r7b", {"use_qk_norm": True}, "True is not supported"),
    "two periods": ("command-r7b", {"layer_switch": 2}, "layer_switch: 2 is not supported"),
    "two bases": ("pythia", {"rope_parameters": {"rope_theta": 500.0}}, "rotary_emb_base: 10000 is not supported"),
    "heads that do not fit": ("pythia", {"num_attention_heads": 5}, "5 heads do not divide"),
    "heads of a GPT-J that do not fit": ("gpt-j", {"n_head": 5}, "5 heads do not divide"),
    "more channels than a head has": ("gpt-j", {"rotary_dim": 18}, "18 is not whole pairs of the 16"),
    "half a pair of channels": ("gpt-j", {"rotary_dim": 7}, "7 is not whole pairs"),
    "no channel that rotates": ("gpt-j", {"rotary_dim": 0}, "0 is not whole pairs"),
    "all of the state rotates": ("gpt-j", {"rotary_dim": None}, "null is not a number of channels"),
    "scores that are not scaled": ("gpt-j", {"scale_attn_weights": False}, "False is not supported"),
    "no rotary positions": ("gpt-j", {"rotary": False}, "False is not supported"),
    "another base in a GPT-J": ("gpt-j", {"rope_theta": 500.0}, "rope_theta"),
    "a new Falcon without parallel branches": (
        "falcon-40b", {"parallel_attn": False}, "false is not supported with new_decoder_architecture"),
    "two norms in an old Falcon": ("falcon-7b", {"num_ln_in_parallel_attn": 2}, "without new_decoder_architecture"),
    "norms that hold nothing": ("opt", {"layer_norm_elementwise_affine": False}, "False is not supported"),
    "a word of other letters": ("exaone4", {"layer_types": None, "sliding_window_pattern": "LLX"}, "neither a period"),
    "another activation": ("starcoder2", {"hidden_act": "relu"}, "'relu' is not known"),
    "an RMS norm": ("starcoder2", {"norm_type": "rms_norm"}, "'rms_norm' is not supported"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_would_be_another_model_is_refused(what: str) -> None:
    case, changed, told = REFUSED[what]
    with pytest.raises(CheckpointError, match=told):
        read(case, **changed)


def test_an_original_context_inside_the_group_alone_is_refused() -> None:
    with pytest.raises(CheckpointError, match="it stands beside the group, or is 4096"):
        read("phi4-mini", "original_max_position_embeddings", rope_scaling=INSIDE)


@pytest.mark.parametrize("name", ["OPTModel", "OPTForSequenceClassification"])
def test_states_that_are_projected_for_a_head_are_not_read_without_it(name: str) -> None:
    """The bare model of transformers projects them, to fewer channels than leave the stack."""
    assert read("opt", architectures=[name], pad_token_id=0).hidden_size == 64
    with pytest.raises(ConfigError, match="this opt projects its states for its head"):
        read("opt-350m", architectures=[name], pad_token_id=0)


def test_what_a_file_leaves_out_is_what_its_makers_code_takes() -> None:
    assert read("olmo3", "layer_types").sliding_layers == [0, 1, 2]
    assert read("command-r7b", "sliding_window_pattern", "layer_switch").sliding_layers == [0, 1, 2]
    assert read("exaone4", "layer_types").sliding_layers == [0, 1, 2]
    assert read("exaone4", "layer_types", sliding_window_pattern="LG").sliding_layers == [0, 2]
    assert read("exaone4", "layer_types", sliding_window_pattern=2).sliding_layers == [0, 2]
    assert read("smollm3", "no_rope_layers").nope_layers == [3]
    assert read("pythia", "rotary_pct").rope.partial == 0.25
    assert read("gpt-j", "n_inner").intermediate_size == 4 * 64
    assert read("gpt-j", "rotary_dim", n_embd=512).rope.partial == 64 / 128
    assert read("falcon-40b").has_mlp_norm
    assert not read("falcon-40b", num_ln_in_parallel_attn=1).has_mlp_norm
    assert read("falcon-7b").num_kv_heads == 1
    assert read("falcon-7b", multi_query=False).num_kv_heads == 4
