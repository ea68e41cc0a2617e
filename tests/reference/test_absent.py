"""A key that a config.json leaves out is refused by name, or means what transformers takes for it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.goldens import all_goldens
from tests.reference.absent import cases, kept, keys, put, taken, without
from tests.some import one_in
from zoo.errors import ZooError
from zoo.registry import installed
from zoo.weights import ForeignConfig

FAMILIES = {golden.name: installed()[golden.family] for golden in all_goldens()}

OF_SIGMOID = ("deepseek_v3", "deepseek_v32", "glm_moe_dsa")
# Keys of the original code, which the class of transformers does not have, with what that code takes.
OF_THE_ORIGINAL = {
    "scoring_func": {"deepseek_v2": "softmax"} | dict.fromkeys(OF_SIGMOID, "sigmoid"), "indexer_rope_interleave": True,
    "moe_layer_freq": 1, "rope_interleave": True,
    "topk_method": "noaux_tc", "num_nextn_predict_layers": 0, "seq_length": 2048,
    "hidden_activation": "gelu_pytorch_tanh",
    "head_dim": 4,  # hidden_size / num_heads
    "norm_topk_prob": {"qwen3_vl_moe": True},
    "decoder_start_token_id": 0,
    "scale_decoder_outputs": False,
    "position_buckets": -1, "norm_rel_ebd": "none", "share_att_key": False, "conv_kernel_size": 0, "conv_groups": 1,
    "conv_act": "tanh",
    "global_attn_every_n_layers": 3,  # transformers 5 makes layer_types of it
    "global_head_dim": 512,  # read, and kept layer by layer
    "num_global_key_value_heads": None,
}  # fmt: skip
# Where zoo takes another value than transformers: the shapes of the tensors, or a tensor itself, tell one from the
# other, and a file of the wrong kind is refused.
TOLD_BY_TENSORS: dict[str, dict[str, Any]] = {
    "q_lora_rank": {"q_lora_rank": None},
    "n_shared_experts": {"num_shared_experts": 0},
    "num_key_value_heads": {"num_kv_heads": 6},  # as many as there are query heads
    "text_config.num_key_value_heads": {"num_kv_heads": 4},
    "vocab_size_per_layer_input": {"vocab_size": 61},  # as many rows as the table of tokens
    "text_config.vocab_size_per_layer_input": {"layer_embed_dim": 9},  # likewise
    "vision_config.out_hidden_size": {},
    "vision_config.hidden_size": {},
    "vision_config.vision_use_head": {},
    # Not told by tensors, but the same layers: of four, the first five in six have a window.
    "layer_types": {"local_per_global": 5},
    "text_config.layer_types": {"local_per_global": 5},
}

# Keys that must be there: sizes, which the reference would take from some released model, and what else a family has
# no usual value for.
SIZES = set(
    "vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads n_layer n_head n_layers n_heads "
    "dim hidden_dim d_model d_ff d_kv num_layers num_heads moe_intermediate_size shared_expert_intermediate_size "
    "ffn_dim num_experts num_local_experts n_routed_experts num_experts_per_tok first_k_dense_replace "
    "top_k_experts".split()
)
LATENT = "kv_lora_rank qk_nope_head_dim qk_rope_head_dim v_head_dim n_group topk_group norm_topk_prob".split()
SPARSE = {*LATENT, "routed_scaling_factor", "index_n_heads", "index_head_dim", "index_topk"}
NEEDED = {
    "deepseek_v32": SPARSE, "glm_moe_dsa": SPARSE,
    "deepseek_v2": {*LATENT, "routed_scaling_factor"}, "deepseek_v3": {*LATENT, "routed_scaling_factor"},
    "gemma2": {"query_pre_attn_scalar"}, "gemma3_text": {"query_pre_attn_scalar"}, "qwen2": {"sliding_window"},
    "qwen3": {"sliding_window"},
}  # fmt: skip
TOWERS = {"hidden_size"}  # of Qwen2.5-VL's; its width is nobody's
UNSIZED = set(  # whose released files leave even sizes out
    "clip dinov2 dinov2_with_registers gemma3 gpt2 marian siglip siglip2 vit".split()
)


def outcome(name: str, raw: dict[str, Any]) -> Any:
    """The config that is read, or what refuses it."""
    try:
        return FAMILIES[name].dialect("hf").from_config(ForeignConfig(raw))
    except ZooError as error:
        return str(error)


@pytest.mark.parametrize("name", one_in(6, sorted(cases())))
def test_an_absent_key_is_refused_or_means_what_the_reference_takes(name: str) -> None:
    raw, theirs = cases()[name], kept()[name]
    for group, key in keys(raw):
        path = f"{group}.{key}" if group else key
        absent = outcome(name, without(raw, group, key))
        if isinstance(absent, str) and f"{key}: the key is missing" in absent:
            allowed = TOWERS if group == "vision_config" else SIZES | NEEDED.get(raw["model_type"], set())
            assert key in allowed, path
            assert raw["model_type"] not in UNSIZED, path
            continue
        assert key not in NEEDED.get(raw["model_type"], set()) or name == "deepseek-v2-other", path
        value = theirs[path] if path in theirs else OF_THE_ORIGINAL[key]
        value = value[raw["model_type"]] if isinstance(value, dict) and path not in theirs else value
        if absent != outcome(name, put(raw, group, key, value)):
            expected = TOLD_BY_TENSORS[path]
            assert expected == {k: getattr(absent, k, expected[k]) for k in expected}, path


@pytest.mark.parametrize("name", one_in(6, sorted(cases())))
def test_a_config_is_written_as_it_was_read(name: str) -> None:
    """As the reference read it when it computed the golden."""
    raw = cases()[name]
    assert json.loads(json.dumps(FAMILIES[name].dialect("hf").to_config(outcome(name, raw)))) == raw


@pytest.mark.slow
def test_the_values_are_those_that_transformers_takes() -> None:
    pytest.importorskip("transformers", reason="the reference extra is not installed")
    assert kept() == taken(), "run python -m tests.reference.absent"
