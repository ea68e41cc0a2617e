"""GPT-J: what of a checkpoint decides how far a head rotates, and tensors that are no part of the model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import zoo
from zoo.anatomy import RopeConfig
from zoo.errors import CheckpointError, ConfigError, UsageError
from zoo.nn import Rope
from zoo.presets import config as preset
from zoo.registry import installed
from zoo.weights import ForeignConfig

GPTJ = installed()["gptj"]


def test_the_preset_has_the_published_number_of_parameters() -> None:
    assert sum(weight.numel for weight in preset("gptj-6b").anatomy().weights) == 6_050_882_784  # of the model card


@pytest.mark.parametrize("width", [44, 46, 52, 78, 98, 256])
def test_any_number_of_channels_survives_being_a_share(width: int) -> None:
    """30 / 44 times 44 is 29.999999999999996, which would be 29 channels."""
    tiny = replace(
        GPTJ.config_class.tiny(), num_heads=1, num_kv_heads=1, hidden_size=width, head_dim=width, rope=RopeConfig()
    )
    raw = GPTJ.dialect("hf").to_config(tiny)
    for rotary in range(2, width + 1, 2):
        read = ForeignConfig({**raw, "rotary_dim": rotary})
        config = GPTJ.dialect("hf").from_config(read)
        assert Rope(width, config.rope, 8, is_interleaved=True).dim == rotary
        assert GPTJ.dialect("hf").to_config(config)["rotary_dim"] == rotary


@pytest.mark.parametrize(
    "changed",
    [
        {"rope": RopeConfig(theta=500.0, partial=0.5)},
        {"rope": RopeConfig(scaling="linear", factor=2.0, partial=0.5)},
        {"num_kv_heads": 1},
        {"head_dim": 8},
    ],
)
def test_what_its_config_json_has_no_key_for_is_refused(changed: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="a GPT-J config\\.json cannot store"):
        GPTJ.dialect("hf").to_config(replace(GPTJ.config_class.tiny(), **changed))


def test_a_share_that_is_no_whole_pairs_is_refused() -> None:
    with pytest.raises(ConfigError, match="not whole pairs"):
        replace(GPTJ.config_class.tiny(), rope=RopeConfig(partial=0.25))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    zoo.save(zoo.build(GPTJ.config_class.tiny(), device="cpu"), tmp_path / "gptj", format="hf")
    return tmp_path / "gptj"


def test_masks_of_older_files_are_no_part_of_the_model(folder: Path) -> None:
    file = folder / "model.safetensors"
    tensors = load_file(file)
    masks = {f"transformer.h.{i}.attn.bias": torch.ones(1, 1, 64, 64).tril().bool() for i in range(2)}
    masks |= {f"transformer.h.{i}.attn.masked_bias": torch.tensor(-1e9) for i in range(2)}
    before = zoo.load(folder)(torch.arange(9)[None])
    save_file({**tensors, **masks}, file, {"format": "pt"})
    assert torch.equal(zoo.load(folder)(torch.arange(9)[None]), before)


@pytest.mark.parametrize("name", ["lm_head.bias", "transformer.h.1.mlp.fc_in.bias", "transformer.h.0.ln_1.bias"])
def test_a_bias_that_is_not_there_is_refused(folder: Path, name: str) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors[name]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match=name):
        zoo.load(folder)


@pytest.mark.parametrize("name", ["attn.q_proj.bias", "ln_2.weight"])
def test_a_tensor_of_another_model_is_refused(folder: Path, name: str) -> None:
    tensors = load_file(folder / "model.safetensors")
    save_file(tensors | {f"transformer.h.0.{name}": torch.ones(36)}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match=name):
        zoo.load(folder)
