"""The first Qwen-VL, against what its released code computes."""

from __future__ import annotations

import json
import shutil
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import zoo
from tests.plugins.test_qwen_vl import tiny
from zoo.errors import UsageError
from zoo.nn import hidden_states, traced
from zoo.testing.subject import peaked


@pytest.fixture(scope="module")
def chat(shared: Path) -> tuple[nn.Module, dict[str, Tensor], dict[str, Tensor]]:
    folder = shared / "golden" / "qwen-vl-chat"
    files = (load_file(folder / f"{name}.safetensors") for name in ("inputs", "expected"))
    return zoo.load(folder, dtype="float64"), *files


def near(found: Tensor, expected: Tensor) -> None:
    """The golden numbers are float32 of a float64 run."""
    assert found.shape == expected.shape
    assert (found - expected.double()).abs().max().item() < 1e-6


@torch.no_grad()
def test_Qwen_VL_reads_images_as_its_released_code(chat: Any) -> None:
    model, given, expected = chat
    near(model.visual(given["pixel_values"]), expected["visual.output"])
    near(model.visual.tower(given["pixel_values"])[:, ::8], expected["visual.trunk_rows"])
    for case, count in (("one", 1), ("two", 2)):
        with traced(model, "norm", "layers.0.input") as kept:
            logits = model(given[f"{case}.input_ids"], pixels=given["pixel_values"][:count])
        rows = given[f"{case}.rows"]
        near(logits[:, rows], expected[f"{case}.logits_rows"])
        near(kept["norm"][:, rows], expected[f"{case}.last_hidden_rows"])
        near(kept["layers.0.input"][:, rows], expected[f"{case}.embeddings_rows"])


@torch.no_grad()
def test_Qwen_VL_reads_and_writes_text_as_its_released_code(chat: Any) -> None:
    model, given, expected = chat
    near(model(given["text.input_ids"]), expected["text.logits"])
    states = hidden_states(model, given["text.input_ids"][:1])
    near(torch.stack([*states[:-2], states[-1]]), expected["text.hidden_states"])
    tokens = given["one.input_ids"]
    cache = model.new_cache(1, tokens.shape[1] + 6)
    steps = [model(tokens, pixels=given["pixel_values"][:1], cache=cache, last=True)]
    while len(steps) < 6:
        steps.append(model(steps[-1].argmax(-1), cache=cache))
    near(torch.cat(steps, 1), expected["decode.logits"])
    assert torch.equal(torch.cat(steps, 1).argmax(-1), expected["decode.generated_ids"])


@torch.no_grad()
def test_Qwen_VL_resamples_with_two_heads_and_other_grids(shared: Path, tmp_path: Path) -> None:
    """The folder has a tower only, and its config a decoder of which nothing else is there."""
    folder = tmp_path / "visual"
    shutil.copytree(shared / "golden" / "qwen-vl-visual", folder)
    raw = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(raw | {"kv_channels": 64}))
    allowed = [f"{name}*" for name in ("transformer.wte", "transformer.h.", "transformer.ln_f", "lm_head")]
    model = zoo.load(folder, dtype="float64", allow=allowed)
    given, expected = (load_file(folder / f"{name}.safetensors") for name in ("inputs", "expected"))
    for grid in ("grid16", "grid24"):
        near(model.visual(given[f"{grid}.pixel_values"]), expected[f"{grid}.output"])


def test_Qwen_VL_comes_back_byte_for_byte(shared: Path, tmp_path: Path) -> None:
    folder = shared / "golden" / "qwen-vl-chat"
    zoo.save(zoo.load(folder), tmp_path / "out")
    stored, back = (load_file(f / "model.safetensors") for f in (folder, tmp_path / "out"))
    assert stored.keys() == back.keys()
    assert all(stored[k].dtype == back[k].dtype and torch.equal(stored[k], back[k]) for k in stored)
    assert zoo.inspect(tmp_path / "out").config == zoo.inspect(folder).config


@torch.no_grad()
def test_Qwen_VL_refuses_texts_that_do_not_name_their_images() -> None:
    config = tiny("qwen_vl")
    config = replace(config, vision=replace(config.vision, image_start_id=50))
    model = peaked(zoo.build(config, device="cpu"))
    image, name = torch.randn(1, 3, 12, 12), [7] * 9
    whole = torch.tensor([[3, 50, *name, 51, 4]])
    other = torch.tensor([[3, 50, *[8] * 9, 51, 4]])
    assert torch.equal(model(whole, pixels=image), model(other, pixels=image))  # the name is never seen
    with pytest.raises(UsageError, match="the text has 1 images, 0 are given"):
        model(whole)
    with pytest.raises(UsageError, match="does not end after 9"):
        model(whole[:, :-2], pixels=image)


@torch.no_grad()
def test_Qwen_VL_reads_texts_beyond_its_training_as_the_first_Qwen_does() -> None:
    config = replace(tiny("qwen_vl"), trained_seq_len=12)
    shared = {f.name for f in fields(tiny("qwen"))} & {f.name for f in fields(config)} - {"family", "vision"}
    blind = replace(tiny("qwen"), **{name: getattr(config, name) for name in shared})
    model = peaked(zoo.build(config, device="cpu", dtype="float64"))
    reader = zoo.build(blind, device="cpu", dtype="float64")
    reader.load_state_dict({n: x for n, x in model.state_dict().items() if not n.startswith("visual.")})
    text = torch.randint(61, (2, 30), generator=torch.Generator().manual_seed(3))
    assert torch.equal(model(text), reader(text))
    short = zoo.build(replace(config, trained_seq_len=48), device="cpu", dtype="float64")
    short.load_state_dict(model.state_dict())
    assert (model(text) - short(text)).abs().max() > 0.1  # beyond 12 tokens both stretches do something
