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

FAMILIES: dict[str, dict[str, Any]] = {"gpt-oss": GPT_OSS}


def add_to(tool: ModuleType) -> ModuleType:
    """The tool, which knows them from now on."""
    for name, config in FAMILIES.items():
        if name not in tool.F:
            tool.fam(name, config)
    return tool
