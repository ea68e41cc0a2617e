"""Tiny checkpoints of architectures that zoo does not have, written by transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

SIZES: dict[str, Any] = {"vocab_size": 61, "hidden_size": 32, "num_hidden_layers": 2}
HEADS: dict[str, Any] = {**SIZES, "num_attention_heads": 4, "intermediate_size": 40, "max_position_embeddings": 64}
GROUPED = {**HEADS, "num_key_value_heads": 2}
STATE = {**SIZES, "state_size": 4}
MPT = {"vocab_size": 61, "d_model": 32, "n_heads": 4, "n_layers": 2, "max_seq_len": 64}
DECODERS: dict[str, dict[str, Any]] = {
    "FalconMamba": {**STATE, "time_step_rank": 4},
    "Rwkv": {**SIZES, "context_length": 64}, "Nemotron": {**GROUPED, "head_dim": 8}, "Mpt": MPT,
    "Jamba": {
        **GROUPED, "num_hidden_layers": 4, "num_experts": 4, "attn_layer_period": 2, "attn_layer_offset": 1,
        "expert_layer_period": 2, "expert_layer_offset": 1, "mamba_d_state": 4, "mamba_dt_rank": 4,
    },
    "XGLM": {
        "vocab_size": 61, "d_model": 32, "ffn_dim": 40, "num_layers": 2, "attention_heads": 4,
        "max_position_embeddings": 64,
    },
    "CodeGen": {"vocab_size": 61, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "rotary_dim": 4},
    "RecurrentGemma": {
        **SIZES, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48, "lru_width": 32,
        "attention_window_size": 16,
    },
    "Dbrx": {
        **MPT, "attn_config": {"kv_n_heads": 2, "clip_qkv": 8.0, "rope_theta": 1e4},
        "ffn_config": {"ffn_hidden_size": 40, "moe_num_experts": 4, "moe_top_k": 2},
    },
    "Bamba": {
        **GROUPED, "mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 4, "mamba_n_groups": 1,
        "attn_layer_indices": [1],
    },
}  # fmt: skip
ENCODERS: dict[str, dict[str, Any]] = {
    "Camembert": HEADS, "RoFormer": HEADS,
    "MegatronBert": HEADS,
}  # fmt: skip


@torch.no_grad()
def written(folder: Path, name: str) -> Path:
    """A model of transformers with weights for which a misplaced one shows, in a folder."""
    import transformers

    transformers.logging.disable_progress_bar()
    sizes, kind = (DECODERS[name], "ForCausalLM") if name in DECODERS else (ENCODERS[name], "Model")
    torch.manual_seed(0)
    model = getattr(transformers, name + kind)(getattr(transformers, f"{name}Config")(**sizes))
    for key, parameter in model.named_parameters():
        if parameter.ndim > 1 and "norm" not in key.lower():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    model.save_pretrained(folder)
    return folder
