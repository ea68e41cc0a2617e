"""DINOv2: what it reads, what hides a patch, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

import zoo
from zoo.errors import CheckpointError, ConfigError, UsageError
from zoo.registry import installed
from zoo.testing.subject import peaked
from zoo.weights import ForeignConfig

TINY: Any = installed()["dinov2"].config_class.tiny()
PLAIN: Any = replace(TINY, num_registers=None)


def built(config: Any) -> Any:
    return peaked(zoo.build(config, device="cpu", dtype="float64").eval())


@torch.no_grad()
def test_a_hidden_patch_is_the_mask_token_and_registers_are_no_part_of_the_mean() -> None:
    model, pixels = built(TINY), torch.randn(1, 3, 12, 12, dtype=torch.float64)
    masked = torch.tensor([[True] + [False] * 8])
    other = pixels.clone()
    other[..., :4, :4] = 7.0
    assert torch.equal(model(pixels, masked).hidden, model(other, masked).hidden)
    assert not torch.equal(model(pixels).hidden, model(other).hidden)
    out = model(pixels)
    assert out.hidden.shape == (1, 1 + 2 + 9, 24)
    seen = torch.cat((out.hidden[:, 0], out.hidden[:, 3:].mean(1)), -1)
    assert torch.allclose(model.classifier(seen), out.logits, atol=1e-12)
    with pytest.raises(UsageError, match="no mask token"):
        built(replace(PLAIN, has_mask_token=False))(pixels, masked)


def test_parts_that_do_not_go_together_are_refused() -> None:
    for change, message in (
        ({"has_mask_token": False}, "all models with registers have it"),
        ({"head": "none"}, "does not use model.num_labels"),
        ({"labels": ["a"]}, "names 1 classes"),
        ({"num_registers": 0}, "num_registers"),
    ):
        with pytest.raises(ConfigError, match=message):
            replace(TINY, **change)
    with pytest.raises(UsageError, match="12 x 13 pixels cannot be cut into patches of 4"):
        built(PLAIN)(torch.zeros(1, 3, 12, 13))


def test_released_files_are_read_and_others_are_refused() -> None:
    hf, released = installed()["dinov2"].dialect("hf"), {  # of facebook/dinov2-with-registers-base
        "apply_layernorm": True, "architectures": ["Dinov2WithRegistersModel"], "attention_probs_dropout_prob": 0.0,
        "drop_path_rate": 0.0, "hidden_act": "gelu", "hidden_dropout_prob": 0.0, "hidden_size": 768, "image_size": 518,
        "initializer_range": 0.02, "interpolate_antialias": True, "interpolate_offset": 0.0, "layer_norm_eps": 1e-06,
        "layerscale_value": 1.0, "mlp_ratio": 4, "model_type": "dinov2_with_registers", "num_attention_heads": 12,
        "num_channels": 3, "num_hidden_layers": 12, "num_register_tokens": 4, "out_features": ["stage12"],
        "out_indices": [12], "patch_size": 14, "qkv_bias": True, "reshape_hidden_states": True,
        "stage_names": ["stem", "stage1"], "torch_dtype": "float32", "transformers_version": "4.48.0.dev0",
        "use_swiglu_ffn": False,
    }  # fmt: skip
    raw = ForeignConfig(released)
    found = hf.from_config(raw)
    raw.check()
    expected = zoo.presets.config("dinov2-with-registers-base")
    assert found == replace(expected, hub="", license="", source="")
    for wrong, message in (
        ({"interpolate_offset": 0.1}, "interpolate_offset"),
        ({"architectures": ["Dinov2Backbone"]}, "is not supported"),
        ({"model_type": "dinov2"}, "is not supported"),
    ):
        with pytest.raises(CheckpointError, match=message):
            hf.from_config(ForeignConfig(released | wrong))
