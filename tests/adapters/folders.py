"""Folders as peft writes them, made by hand: settings, and factors for modules of a base."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

SETTINGS: dict[str, Any] = {  # what peft 0.21 writes for a plain LoRA
    "alora_invocation_tokens": None, "alpha_pattern": {}, "arrow_config": None, "auto_mapping": None,
    "base_model_name_or_path": None, "bias": "none", "corda_config": None, "ensure_weight_tying": False,
    "eva_config": None, "exclude_modules": None, "fan_in_fan_out": False, "inference_mode": True,
    "init_lora_weights": True, "kasa_config": None, "layer_replication": None, "layers_pattern": None,
    "layers_to_transform": None, "loftq_config": {}, "lora_alpha": 6, "lora_bias": False, "lora_dropout": 0.05,
    "lora_ga_config": None, "megatron_config": None, "megatron_core": "megatron.core", "modules_to_save": None,
    "monteclora_config": None, "peft_type": "LORA", "peft_version": "0.21.2", "qalora_group_size": 16, "r": 2,
    "rank_pattern": {}, "revision": None, "target_modules": ["q_proj", "v_proj"], "target_parameters": None,
    "task_type": "CAUSAL_LM", "trainable_token_indices": None, "use_bdlora": None, "use_dora": False,
    "use_qalora": False, "use_rslora": False, "velora_config": None,
}  # fmt: skip


def pair(module: str, n_in: int, n_out: int, rank: int = 2) -> dict[str, Tensor]:
    """Random factors of one module."""
    generator = torch.Generator().manual_seed(len(module) + n_in)
    a = torch.randn(rank, n_in, generator=generator)
    b = torch.randn(n_out, rank, generator=generator)
    return {f"base_model.model.{module}.lora_A.weight": a, f"base_model.model.{module}.lora_B.weight": b}


def of_tiny(rank: int = 2) -> dict[str, Tensor]:
    """Factors of q_proj and v_proj in each layer of `tiny`: 5 layers, 128 channels, 4 heads and 2 key heads of 32."""
    found: dict[str, Tensor] = {}
    for i in range(5):
        for name, n_out in (("q_proj", 128), ("v_proj", 64)):
            found |= pair(f"model.layers.{i}.self_attn.{name}", 128, n_out, rank)
    return found


def write(folder: Path, tensors: dict[str, Tensor] | None = None, **settings: Any) -> Path:
    """An adapter's folder; without tensors that of `of_tiny`."""
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps(SETTINGS | settings))
    save_file(of_tiny() if tensors is None else tensors, folder / "adapter_model.safetensors")
    return folder
