"""A Qwen3-VL-MoE whose stacks of gate and up are square: zoo reads either way round, transformers its own alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import zoo
from zoo.models.transformers_library import read_model
from zoo.registry import installed
from zoo.testing.subject import peaked

pytestmark = pytest.mark.slow
transformers = pytest.importorskip("transformers", reason="the extra reference is not installed")


@torch.no_grad()
def test_which_way_square_stacks_lie_is_read_off_the_others(tmp_path: Path) -> None:
    tiny: Any = installed()["qwen3_vl_moe"].config_class.tiny()
    model: Any = peaked(zoo.build(replace(tiny, hidden_size=48, moe_intermediate_size=24), device="cpu"))
    ours = zoo.save(model, tmp_path / "ours", format="hf")
    theirs = read_model(transformers.AutoModelForImageTextToText, ours, dtype=torch.float32).eval()
    theirs.save_pretrained(tmp_path / "theirs")
    tokens = torch.tensor([[3, 4, 5, 6, 7, 8]])
    found: Any = zoo.load(ours)
    assert (found(tokens) - model(tokens)).abs().max() < 1e-4  # float32, over some layers of peaked weights
    again: Any = zoo.load(tmp_path / "theirs")
    expected = theirs(input_ids=tokens).logits
    assert (again(tokens) - expected).abs().max() < 1e-4
    assert (model(tokens) - expected).abs().max() > 0.1  # it left the released stack unturned
