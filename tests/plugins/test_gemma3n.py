"""Gemma 3n: the released config, files with towers, shared keys in the cache, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import zoo
from zoo.anatomy import RopeConfig
from zoo.anatomy.differing import BOOKKEEPING
from zoo.errors import CheckpointError, ConfigError
from zoo.presets import config as preset
from zoo.registry import installed
from zoo.weights import ForeignConfig

TEXT: dict[str, Any] = {
    "activation_sparsity_pattern": [0.95] * 10 + [0.0] * 25, "altup_active_idx": 0, "altup_coef_clip": 120.0,
    "altup_correct_scale": True, "altup_lr_multiplier": 1.0, "altup_num_inputs": 4, "attention_bias": False,
    "attention_dropout": 0.0, "final_logit_softcapping": 30.0, "head_dim": 256,
    "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 2048, "hidden_size_per_layer_input": 256,
    "initializer_range": 0.02, "intermediate_size": [16384] * 35, "laurel_rank": 64,
    "layer_types": (["sliding_attention"] * 4 + ["full_attention"]) * 7, "max_position_embeddings": 32768,
    "model_type": "gemma3n_text", "num_attention_heads": 8, "num_hidden_layers": 35, "num_key_value_heads": 2,
    "num_kv_shared_layers": 15, "rms_norm_eps": 1e-06, "rope_local_base_freq": 10000.0, "rope_scaling": None,
    "rope_theta": 1000000.0, "sliding_window": 512, "torch_dtype": "bfloat16", "use_cache": True,
    "vocab_size": 262400, "vocab_size_per_layer_input": 262144,
}  # fmt: skip
WHOLE: dict[str, Any] = {
    "architectures": ["Gemma3nForConditionalGeneration"], "audio_config": {"model_type": "gemma3n_audio"},
    "audio_soft_tokens_per_image": 188, "audio_token_id": 262273, "boa_token_id": 256000, "boi_token_id": 255999,
    "bos_token_id": 2, "eoa_token_id": 262272, "eoi_token_id": 262144, "eos_token_id": 1, "image_token_id": 262145,
    "initializer_range": 0.02, "model_type": "gemma3n", "pad_token_id": 0, "text_config": TEXT,
    "torch_dtype": "bfloat16", "transformers_version": "4.53.0.dev0", "vision_config": {"model_type": "gemma3n_vision"},
    "vision_soft_tokens_per_image": 256,
}  # fmt: skip
SMALL = {
    "num_hidden_layers": 30, "intermediate_size": [8192] * 30, "num_kv_shared_layers": 10,
    "layer_types": (["sliding_attention"] * 4 + ["full_attention"]) * 6,
    "activation_sparsity_pattern": [0.95] * 10 + [0.0] * 20,
}  # fmt: skip
TOKENS = torch.tensor([[3, 5, 7, 4, 9, 11, 2, 8, 1, 6, 50, 60]])


def read(text: dict[str, Any]) -> Any:
    hf = ForeignConfig(WHOLE | {"text_config": text})
    config = installed()["gemma3n"].dialect("hf").from_config(hf)
    hf.check()
    return config


@pytest.mark.parametrize(("name", "keys"), [("gemma3n-e4b", {}), ("gemma3n-e2b", SMALL)])
def test_released_config_is_the_preset(name: str, keys: dict[str, Any]) -> None:
    known = preset(name)
    assert read(TEXT | keys) == replace(known, **{f: getattr(type(known), f) for f in BOOKKEEPING})


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"altup_active_idx": 1}, "altup_active_idx: 1 is not supported"),
        ({"altup_correct_scale": False}, "altup_correct_scale: False is not supported"),
        ({"num_kv_shared_layers": 35}, "num_kv_shared_layers: 35 of 35 layers cannot take"),
        ({"layer_types": ["full_attention"]}, "layer_types: it does not say"),
        ({"hidden_activation": "silu"}, "hidden_activation"),
        ({"model_type": "gemma3_text"}, "model_type"),
    ],
)
def test_another_model_is_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        read(TEXT | keys)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sharing_from": 1}, r"model\.sharing_from=1 leaves no layer of the same kind before it"),
        ({"mlp_widths": [3]}, r"model\.mlp_widths has 1 numbers, and model\.num_layers=5"),
        ({"sparsity": [1.0] * 5}, r"model\.sparsity=.* is not from 0 to below 1"),
        ({"local_rope": RopeConfig(scaling="linear", factor=2.0)}, r"model\.local_rope\.scaling=linear: the local"),
        ({"rope": RopeConfig(scaling="yarn", truncate=False)}, r"model\.rope\.truncate=false"),
        ({"global_layers": [9]}, r"model\.global_layers=\[9\] must be layer numbers in order"),
    ],
)
def test_contradicting_fields_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(installed()["gemma3n"].config_class.tiny(), **fields)


@pytest.mark.filterwarnings("ignore")
@torch.inference_mode()
def test_the_text_of_a_file_with_towers_is_the_text_alone(tmp_path: Path) -> None:
    """Keys of layers that share those of others are in some files, and read by nobody."""
    model: Any = zoo.build(installed()["gemma3n"].config_class.tiny(), device="cpu").eval()
    text = zoo.save(model, tmp_path / "text")
    raw = json.loads((text / "config.json").read_text())
    stored = load_file(text / "model.safetensors")
    stored = {n.replace("model.", "model.language_model.", 1): t for n, t in stored.items()}
    beside = ["vision_tower.x", "audio_tower.x", "embed_vision.x", "language_model.layers.3.self_attn.k_proj.weight"]
    stored |= {f"model.{name}": torch.ones(2) for name in beside}
    (tmp_path / "whole").mkdir()
    save_file(stored, tmp_path / "whole/model.safetensors", {"format": "pt"})
    (tmp_path / "whole/config.json").write_text(json.dumps(WHOLE | {"text_config": raw}))
    assert len(zoo.inspect(tmp_path / "whole").account.ignored) == len(beside)
    assert torch.equal(zoo.load(tmp_path / "whole")(TOKENS), model(TOKENS))


def test_layers_that_share_keys_cache_none() -> None:
    model: Any = zoo.build(installed()["gemma3n"].config_class.tiny(), device="cpu")
    cache = model.new_cache(2, 12)
    assert [layer.nbytes > 0 for layer in cache.layers] == [True, True, True, False, False]
