"""Tiny configs of families that the tool which makes checkpoints does not know, in the spelling of the hub's files."""

from __future__ import annotations

from types import ModuleType
from typing import Any

SIZES = {
    "hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 160, "initializer_range": 0.02,
    "use_cache": True, "attention_dropout": 0.0, "max_position_embeddings": 256, "bos_token_id": 1, "eos_token_id": 2,
    "tie_word_embeddings": False, "hidden_act": "silu", "torch_dtype": "float32",
}  # fmt: skip
GPT_OSS = {
    "architectures": ["GptOssForCausalLM"], "model_type": "gpt_oss", **SIZES, "attention_bias": True, "head_dim": 24,
    "experts_per_token": 2, "num_experts_per_tok": 2, "num_local_experts": 5, "initial_context_length": 16,
    "intermediate_size": 40, "num_hidden_layers": 4, "output_router_logits": False, "pad_token_id": 0,
    "layer_types": ["sliding_attention", "full_attention"] * 2, "rms_norm_eps": 1e-5, "rope_theta": 150_000,
    "rope_scaling": {
        "beta_fast": 32.0, "beta_slow": 1.0, "factor": 32.0, "original_max_position_embeddings": 16,
        "rope_type": "yarn", "truncate": False,
    },
    "router_aux_loss_coef": 0.9, "sliding_window": 12, "swiglu_limit": 0.7,
}  # fmt: skip
DELTA = {
    "linear_conv_kernel_dim": 4, "linear_key_head_dim": 8, "linear_num_key_heads": 2, "linear_num_value_heads": 6,
    "linear_value_head_dim": 12, "mamba_ssm_dtype": "float32", "attn_output_gate": True, "full_attention_interval": 3,
}  # fmt: skip
MTP = {"mtp_num_hidden_layers": 1, "mtp_use_dedicated_embeddings": False}
QWEN3_5 = {
    "architectures": ["Qwen3_5ForCausalLM"], "model_type": "qwen3_5_text", **SIZES, **DELTA, **MTP, "head_dim": 24,
    "attention_bias": False, "intermediate_size": 112, "num_hidden_layers": 4, "rms_norm_eps": 1e-6,
    "layer_types": ["linear_attention", "linear_attention", "full_attention", "linear_attention"],
    "rope_parameters": {
        "mrope_interleaved": True, "mrope_section": [1, 1, 1], "partial_rotary_factor": 0.25, "rope_theta": 10_000_000,
        "rope_type": "default",
    },
}  # fmt: skip
QWEN3_5_MOE = {name: value for name, value in QWEN3_5.items() if name != "intermediate_size"} | {
    "architectures": ["Qwen3_5MoeForCausalLM"], "model_type": "qwen3_5_moe_text", "moe_intermediate_size": 32,
    "num_experts": 5, "num_experts_per_tok": 2, "shared_expert_intermediate_size": 48, "output_router_logits": False,
    "router_aux_loss_coef": 0.001,
}  # fmt: skip

FAMILIES: dict[str, dict[str, Any]] = {"gpt-oss": GPT_OSS, "qwen3.5": QWEN3_5, "qwen3.5-moe": QWEN3_5_MOE}


def add_to(tool: ModuleType) -> ModuleType:
    """The tool, which knows them from now on."""
    for name, config in FAMILIES.items():
        if name not in tool.F:
            tool.fam(name, config)
    return tool
