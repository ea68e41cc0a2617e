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

LLAMA4 = {
    "architectures": ["Llama4ForCausalLM"], "model_type": "llama4_text", **SIZES, "attention_bias": False,
    "attention_chunk_size": 12, "attn_scale": 0.1, "attn_temperature_tuning": True, "floor_scale": 8192, "head_dim": 24,
    "for_llm_compressor": False, "interleave_moe_layer_step": 2, "intermediate_size": 40, "intermediate_size_mlp": 72,
    "no_rope_layers": [], "num_experts_per_tok": 1, "num_hidden_layers": 5, "num_local_experts": 5, "pad_token_id": 0,
    "output_router_logits": False, "rms_norm_eps": 1e-5, "rope_theta": 500_000.0, "router_aux_loss_coef": 0.001,
    "rope_scaling": {
        "factor": 16.0, "high_freq_factor": 1.0, "low_freq_factor": 1.0, "original_max_position_embeddings": 16,
        "rope_type": "llama3",
    },
    "router_jitter_noise": 0.0, "use_qk_norm": True,
}  # fmt: skip
GEMMA4_MOE = {
    "architectures": ["Gemma4ForCausalLM"], "model_type": "gemma4_text", "hidden_size": 64, "intermediate_size": 80,
    "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 160,
    "vocab_size_per_layer_input": 160, "hidden_size_per_layer_input": 0, "global_head_dim": 24, "sliding_window": 12,
    "num_global_key_value_heads": 1, "attention_k_eq_v": True, "num_kv_shared_layers": 0, "attention_bias": False,
    "attention_dropout": 0.0, "enable_moe_block": True, "num_experts": 6, "top_k_experts": 2, "bos_token_id": 2,
    "moe_intermediate_size": 24, "final_logit_softcapping": 30.0, "tie_word_embeddings": True, "eos_token_id": 1,
    "hidden_activation": "gelu_pytorch_tanh", "rms_norm_eps": 1e-6, "pad_token_id": 0, "use_double_wide_mlp": False,
    "layer_types": ["sliding_attention", "full_attention"] * 2, "max_position_embeddings": 256,
    "use_bidirectional_attention": "vision", "initializer_range": 0.02, "torch_dtype": "float32",
    "rope_parameters": {
        "full_attention": {"partial_rotary_factor": 0.25, "rope_theta": 1_000_000.0, "rope_type": "proportional"},
        "sliding_attention": {"rope_theta": 10_000.0, "rope_type": "default"},
    },
}  # fmt: skip

FAMILIES: dict[str, dict[str, Any]] = {
    "gpt-oss": GPT_OSS, "llama4": LLAMA4, "qwen3.5": QWEN3_5, "qwen3.5-moe": QWEN3_5_MOE, "gemma4-moe": GEMMA4_MOE,
}  # fmt: skip


def add_to(tool: ModuleType) -> ModuleType:
    """The tool, which knows them from now on."""
    for name, config in FAMILIES.items():
        if name not in tool.F:
            tool.fam(name, config)
    return tool
