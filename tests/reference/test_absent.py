"""A key that a config.json leaves out is refused by name, or means what transformers takes for it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.reference.absent import cases, kept, keys, put, taken, without
from zoo.errors import ZooError
from zoo.registry import installed
from zoo.verification.goldens.rerun import goldens_of
from zoo.weights import ForeignConfig

FAMILIES = {g.name: family for _, family in installed().families.items() for g in goldens_of(family)}

# Keys of the original code, which the class of transformers does not have, with what that code takes.
OF_THE_ORIGINAL = {
    "moe_layer_freq": 1, "scoring_func": {"deepseek_v2": "softmax", "deepseek_v3": "sigmoid"}, "rope_interleave": True,
    "topk_method": "noaux_tc", "num_nextn_predict_layers": 0, "seq_length": 2048,
    "hidden_activation": "gelu_pytorch_tanh",
    "head_dim": 4,  # hidden_size / num_heads
    "decoder_start_token_id": 0,
    "scale_decoder_outputs": False,
}  # fmt: skip
# Where zoo takes another value than transformers: the shapes of the tensors, or a tensor itself, tell one from the
# other, and a file of the wrong kind is refused.
TOLD_BY_TENSORS: dict[str, dict[str, Any]] = {
    "q_lora_rank": {"q_lora_rank": None},
    "n_shared_experts": {"num_shared_experts": 0},
    "num_key_value_heads": {"num_kv_heads": 6},  # as many as there are query heads
    "text_config.num_key_value_heads": {"num_kv_heads": 4},
    "vision_config.out_hidden_size": {},
    "vision_config.hidden_size": {},
    "vision_config.vision_use_head": {},
    # Not told by tensors, but the same layers: of four, the first five in six have a window.
    "layer_types": {"local_per_global": 5},
    "text_config.layer_types": {"local_per_global": 5},
}


def outcome(name: str, raw: dict[str, Any]) -> Any:
    """The config that is read, or what refuses it."""
    try:
        return FAMILIES[name].dialect("hf").from_config(ForeignConfig(raw))
    except ZooError as error:
        return str(error)


@pytest.mark.parametrize("name", sorted(cases()))
def test_an_absent_key_is_refused_or_means_what_the_reference_takes(name: str) -> None:
    raw, theirs = cases()[name], kept()[name]
    for group, key in keys(raw):
        path = f"{group}.{key}" if group else key
        absent = outcome(name, without(raw, group, key))
        if isinstance(absent, str) and f"{key}: the key is missing" in absent:
            continue
        value = theirs[path] if path in theirs else OF_THE_ORIGINAL[key]
        value = value[raw["model_type"]] if isinstance(value, dict) and path not in theirs else value
        if absent != outcome(name, put(raw, group, key, value)):
            expected = TOLD_BY_TENSORS[path]
            assert expected == {k: getattr(absent, k, expected[k]) for k in expected}, path


@pytest.mark.slow
def test_the_values_are_those_that_transformers_takes() -> None:
    pytest.importorskip("transformers", reason="the reference extra is not installed")
    assert kept() == taken(), "run python -m tests.reference.absent"
