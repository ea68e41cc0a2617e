"""CLIP and ViT: what ends a text, images of other sizes, and which files and inputs are refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

import zoo
from zoo.errors import CheckpointError, ConfigError, UsageError
from zoo.registry import installed
from zoo.testing.subject import peaked
from zoo.weights import ForeignConfig


def tiny(family: str) -> Any:
    return installed()[family].config_class.tiny()


def built(config: Any) -> Any:
    return peaked(zoo.build(config, device="cpu", dtype="float64").eval())


@torch.no_grad()
def test_a_text_ends_at_its_first_end_token_or_with_eos_2_at_its_highest_id() -> None:
    tokens = torch.tensor([[3, 60, 5, 60], [4, 5, 58, 60]])
    first = built(tiny("clip"))(tokens)
    ends = first.text_hidden[torch.arange(2), torch.tensor([1, 3])]
    model = built(tiny("clip"))
    assert torch.equal(first.text, nn.functional.normalize(model.text.projection(ends), dim=-1))
    old = built(replace(tiny("clip"), eos_token_id=[2]))
    assert torch.equal(old(tokens).text, first.text)
    assert not torch.equal(
        old(tokens[:, [0, 2, 3, 2]]).text, built(replace(tiny("clip"), eos_token_id=[5]))(tokens).text
    )


@torch.no_grad()
def test_padding_on_the_right_changes_no_text() -> None:
    model, tokens = built(tiny("clip")), torch.tensor([[3, 4, 60, 7, 7]])
    mask = torch.tensor([[True, True, True, False, False]])
    assert torch.allclose(model(tokens, attention_mask=mask).text, model(tokens[:, :3]).text, atol=1e-12)


def test_gradients_reach_both_towers() -> None:
    model = built(tiny("clip"))
    model(
        torch.tensor([[3, 60], [60, 5]]), torch.randn(3, 3, 12, 12, dtype=torch.float64)
    ).logits.square().sum().backward()
    dead = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert dead == []


def test_towers_that_are_not_there_read_nothing() -> None:
    text_only = built(replace(tiny("clip"), vision=None))
    with pytest.raises(UsageError, match="no image tower"):
        text_only(pixels=torch.zeros(1, 3, 12, 12))
    with pytest.raises(ConfigError, match="at least one tower"):
        replace(tiny("clip"), vision=None, text=None)
    with pytest.raises(ConfigError, match="projection_size is missing"):
        replace(tiny("clip"), projection_size=None)


@pytest.mark.parametrize("change", [{"vision": None}, {"text": None}, {"vision": None, "projection_size": None}])
def test_a_tower_alone_survives_the_round_trip(change: dict[str, Any], tmp_path: Any) -> None:
    config = replace(tiny("clip"), **change)
    model = zoo.build(config, device="cpu")
    zoo.save(model, tmp_path / "out")
    back = zoo.load(tmp_path / "out")
    assert back.config == config
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), back.parameters(), strict=True))


def test_CLIP_files_whose_groups_contradict_each_other_are_refused() -> None:
    hf = installed()["clip"].dialect("hf")
    raw = hf.to_config(tiny("clip"))
    agree = ForeignConfig(raw | {"text_config_dict": {"hidden_size": 24, "projection_dim": 18}})
    assert hf.from_config(agree) == tiny("clip")
    agree.check()
    with pytest.raises(CheckpointError, match=r"text_config_dict.hidden_size: 25, but text_config says 24"):
        hf.from_config(ForeignConfig(raw | {"text_config_dict": {"hidden_size": 25}}))
    with pytest.raises(CheckpointError, match="is not supported"):
        hf.from_config(ForeignConfig(raw | {"architectures": ["CLIPForImageClassification"]}))


@torch.no_grad()
def test_ViT_stretches_its_positions_to_other_sizes() -> None:
    model = built(tiny("vit"))
    assert model(torch.zeros(1, 3, 20, 8, dtype=torch.float64)).hidden.shape == (1, 11, 24)
    constant = model.embed.positions.weight[1:].mean(0).expand(9, -1)
    model.embed.positions.weight[1:] = constant
    pixels = torch.zeros(1, 3, 20, 8, dtype=torch.float64)
    states = model.embed(pixels)[0, 1:]
    assert torch.allclose(states, states[:1].expand(10, -1), atol=1e-12)  # of equal positions equal ones come


def test_pixels_that_are_no_whole_patches_are_refused() -> None:
    model = built(tiny("vit"))
    with pytest.raises(UsageError, match="12 x 13 pixels cannot be cut into patches of 4"):
        model(torch.zeros(1, 3, 12, 13))
    with pytest.raises(UsageError, match=r"\[images, 3, height, width\]"):
        model(torch.zeros(1, 1, 12, 12))


def test_gradients_reach_all_of_a_ViT() -> None:
    model = built(tiny("vit"))
    model(torch.randn(2, 3, 12, 12, dtype=torch.float64)).logits.square().sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_ViT_keeps_the_names_of_its_classes() -> None:
    hf, config = installed()["vit"].dialect("hf"), replace(tiny("vit"), labels=list("abcde"))
    assert hf.from_config(ForeignConfig(hf.to_config(config))) == config
    with pytest.raises(CheckpointError, match="is not supported"):
        hf.from_config(ForeignConfig(hf.to_config(config) | {"architectures": ["ViTForMaskedImageModeling"]}))


def test_a_field_of_a_tower_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match="a field of a part is set, but the part is null"):
        zoo.compose("clip-vit-b32", "model.text=null", "model.text.vocab_size=5")
