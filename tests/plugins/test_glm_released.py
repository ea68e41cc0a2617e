"""The config.json files that were released with ChatGLM and GLM are read, key for key, as the presets have them."""

from __future__ import annotations

from typing import Any

import pytest

from zoo.anatomy.differing import BOOKKEEPING
from zoo.presets import config as preset
from zoo.registry import installed
from zoo.weights import ForeignConfig

GLM_EOS = [151329, 151336, 151338]
CHATGLM2: dict[str, Any] = {  # what ChatGLM2, ChatGLM3 and GLM-4-9B say alike
    "architectures": ["ChatGLMModel"],
    "auto_map": {"AutoConfig": "configuration_chatglm.ChatGLMConfig"},
    "add_bias_linear": False,
    "add_qkv_bias": True,
    "apply_query_key_layer_scaling": True,
    "apply_residual_connection_post_layernorm": False,
    "attention_dropout": 0.0,
    "attention_softmax_in_fp32": True,
    "bias_dropout_fusion": True,
    "ffn_hidden_size": 13696,
    "fp32_residual_connection": False,
    "hidden_dropout": 0.0,
    "hidden_size": 4096,
    "kv_channels": 128,
    "layernorm_epsilon": 1e-05,
    "model_type": "chatglm",
    "multi_query_attention": True,
    "multi_query_group_num": 2,
    "num_attention_heads": 32,
    "num_layers": 28,
    "original_rope": True,
    "padded_vocab_size": 65024,
    "post_layer_norm": True,
    "rmsnorm": True,
    "tie_word_embeddings": False,
    "torch_dtype": "float16",
    "use_cache": True,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
RELEASED: dict[str, dict[str, Any]] = {
    "chatglm-6b": {
        "_name_or_path": "THUDM/chatglm-6b",
        "architectures": ["ChatGLMModel"],
        "auto_map": {"AutoConfig": "configuration_chatglm.ChatGLMConfig"},
        "bos_token_id": 130004,
        "eos_token_id": 130005,
        "mask_token_id": 130000,
        "gmask_token_id": 130001,
        "pad_token_id": 3,
        "hidden_size": 4096,
        "inner_hidden_size": 16384,
        "layernorm_epsilon": 1e-05,
        "max_sequence_length": 2048,
        "model_type": "chatglm",
        "num_attention_heads": 32,
        "num_layers": 28,
        "position_encoding_2d": True,
        "pre_seq_len": None,
        "prefix_projection": False,
        "quantization_bit": 0,
        "torch_dtype": "float16",
        "transformers_version": "4.27.1",
        "use_cache": True,
        "vocab_size": 130528,
    },
    "chatglm2-6b": {**CHATGLM2, "seq_length": 32768},
    "chatglm3-6b": {**CHATGLM2, "seq_length": 8192, "vocab_size": 65024},
    "glm-4-9b-chat": {
        **CHATGLM2,
        "classifier_dropout": None,
        "layernorm_epsilon": 1.5625e-07,
        "num_hidden_layers": 40,
        "num_layers": 40,
        "padded_vocab_size": 151552,
        "vocab_size": 151552,
        "rope_ratio": 500,
        "seq_length": 131072,
        "torch_dtype": "bfloat16",
        "eos_token_id": GLM_EOS,
        "pad_token_id": 151329,
    },
    "glm-4.5-air": {
        "architectures": ["Glm4MoeForCausalLM"],
        "attention_bias": True,
        "attention_dropout": 0.0,
        "eos_token_id": GLM_EOS,
        "first_k_dense_replace": 1,
        "head_dim": 128,
        "hidden_act": "silu",
        "hidden_size": 4096,
        "initializer_range": 0.02,
        "intermediate_size": 10944,
        "max_position_embeddings": 131072,
        "model_type": "glm4_moe",
        "moe_intermediate_size": 1408,
        "n_group": 1,
        "n_routed_experts": 128,
        "n_shared_experts": 1,
        "norm_topk_prob": True,
        "num_attention_heads": 96,
        "num_experts_per_tok": 8,
        "num_hidden_layers": 46,
        "num_key_value_heads": 8,
        "num_nextn_predict_layers": 1,
        "pad_token_id": 151329,
        "partial_rotary_factor": 0.5,
        "rms_norm_eps": 1e-05,
        "rope_scaling": None,
        "rope_theta": 1000000,
        "routed_scaling_factor": 1.0,
        "tie_word_embeddings": False,
        "topk_group": 1,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.54.1",
        "use_cache": True,
        "use_qk_norm": False,
        "vocab_size": 151552,
    },
}


@pytest.mark.parametrize("name", RELEASED)
def test_released_configs_are_read_whole_and_are_the_presets(name: str) -> None:
    raw = RELEASED[name]
    ((family, _),) = installed().detect(raw)
    keys = ForeignConfig(raw)
    found = family.dialect("hf").from_config(keys).to_dict()
    keys.check(where=family.name)
    expected = preset(name).to_dict()
    if name == "chatglm-6b":
        expected["tie_embeddings"] = False  # no key says so: the files' second copy is kept apart
    assert {k: v for k, v in found.items() if k not in BOOKKEEPING} == {
        k: v for k, v in expected.items() if k not in BOOKKEEPING
    }
