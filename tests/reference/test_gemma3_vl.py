"""Gemma 3 with images against transformers, in float64 within 1e-9 as in test_vision.py and for its reasons."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import zoo
from tests.reference.conftest import VARIANTS, Case, over
from tests.reference.test_causal import close
from zoo import presets
from zoo.nn import traced
from zoo.registry import installed

pytestmark = pytest.mark.slow

cases = over("gemma3-vl")


def text_and_images(case: Case) -> tuple[Tensor, Tensor]:
    return case.inputs["input_ids"], case.inputs["pixel_values"]


@cases
@torch.inference_mode()
def test_logits_of_images_and_text_equal_the_reference(case: Case) -> None:
    tokens, pixels = text_and_images(case)
    close(case.model.visual(pixels), case.expected["image_features"], 1e-9)
    close(case.model(tokens, pixels=pixels), case.expected["logits"], 1e-9)
    close(case.model(case.inputs["text.input_ids"]), case.expected["text.logits"], 1e-9)


@cases
@torch.inference_mode()
def test_hidden_states_equal_the_reference(case: Case) -> None:
    tokens, pixels = text_and_images(case)
    with traced(case.model, "layers.0.input", *(f"layers.{i}" for i in range(5)), "norm") as seen:
        case.model(tokens, pixels=pixels)
    names = ["layers.0.input", *(f"layers.{i}" for i in range(5)), "norm"]
    close(torch.stack([seen[name] for name in names]), case.expected["hidden_states"], 1e-9)


@cases
@torch.inference_mode()
def test_float32_logits_equal_the_reference(case: Case) -> None:
    tokens, pixels = text_and_images(case)
    model = zoo.load(case.folder, dtype="float32")
    close(model(tokens, pixels=pixels), case.expected["logits"], 1e-4)


@cases
@torch.inference_mode()
def test_greedy_text_after_images_equals_the_reference(case: Case) -> None:
    tokens, pixels = text_and_images(case)
    cache = case.model.new_cache(1, tokens.shape[1] + 8)
    steps = [case.model(tokens, pixels=pixels, cache=cache, last=True)]
    while len(steps) < 8:
        steps.append(case.model(steps[-1].argmax(-1), cache=cache))
    close(torch.cat(steps, 1), case.expected["generate.logits"], 1e-9)
    assert torch.equal(torch.cat(steps, 1).argmax(-1), case.expected["generate.sequences"][:, -8:])


@cases
@torch.inference_mode()
def test_text_read_in_chunks_with_an_image_each_equals_the_reference(case: Case) -> None:
    """The window of 12 tokens has been left by then, so that images are also read into a ring."""
    tokens, pixels = text_and_images(case)
    cache, at = case.model.new_cache(1, tokens.shape[1]), 16  # between the two images
    first = case.model(tokens[:, :at], pixels=pixels[:1], cache=cache)
    second = case.model(tokens[:, at:], pixels=pixels[1:], cache=cache)
    close(torch.cat((first, second), 1), case.expected["logits"], 1e-9)


@cases
@pytest.mark.parametrize("side", ["left", "right"])
@torch.inference_mode()
def test_padded_rows_with_images_equal_the_reference(case: Case, side: str) -> None:
    tokens, pixels = text_and_images(case)
    padding = torch.zeros(1, 5, dtype=torch.long)
    mask = torch.cat((padding.bool(), torch.ones_like(tokens).bool()), 1)
    padded = torch.cat((padding, tokens), 1)
    if side == "right":
        mask, padded = mask.flip(1), torch.cat((tokens, padding), 1)
    both = torch.cat((padded, torch.randint(3, 140, padded.shape, generator=torch.Generator().manual_seed(0))))
    masks = torch.cat((mask, torch.ones_like(mask)))
    found = case.model(both, pixels=pixels, attention_mask=masks)
    close(found[:1][mask][None], case.expected["logits"], 1e-9)
    alone = case.model(both[1:])
    close(found[1:], alone, 1e-9)
    cache = case.model.new_cache(2, padded.shape[1])
    close(
        case.model(both, pixels=pixels, attention_mask=masks, cache=cache)[:1][mask][None], found[:1][mask][None], 1e-9
    )


@cases
def test_export_gives_the_tensors_and_the_config_back(case: Case, tmp_path: Path) -> None:
    """Under the names of the released files, which transformers 5 spells otherwise."""
    model = zoo.load(case.folder)
    zoo.save(model, tmp_path / "out")
    assert zoo.inspect(tmp_path / "out").config == model.config
    back = load_file(tmp_path / "out" / "model.safetensors")
    assert not model.ledger.account.ignored
    spell = installed()["gemma3_vl"].dialect("hf").mapping(model.config).spelling
    assert {spell(name) for name in case.stored} == set(back)
    for name, tensor in case.stored.items():
        assert torch.equal(tensor.view(torch.uint8), back[spell(name)].view(torch.uint8)), name


@torch.inference_mode()
def test_transformers_reads_what_zoo_exports(make_case, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers, the reference, is not installed")
    case = make_case("gemma3-vl", VARIANTS[0])
    zoo.save(zoo.load(case.folder), tmp_path / "out")
    theirs = transformers.Gemma3ForConditionalGeneration.from_pretrained(tmp_path / "out").double().eval()
    tokens, pixels = text_and_images(case)
    kinds = (tokens == case.model.config.image_token_id).long()
    found = theirs(input_ids=tokens, pixel_values=pixels.double(), token_type_ids=kinds).logits
    close(found, case.expected["logits"], 1e-4)  # its norms compute in float32 whatever the dtype


@pytest.mark.parametrize("name", ["gemma3-4b", "gemma3-12b", "gemma3-27b"])
def test_presets_have_the_parameters_of_transformers(name: str) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers, the reference, is not installed")
    keys = installed()["gemma3_vl"].dialect("hf").to_config(presets.config(name))
    with torch.device("meta"):
        model = transformers.Gemma3ForConditionalGeneration(transformers.Gemma3Config(**keys))
    count = sum(p.numel() for n, p in model.named_parameters() if n != "lm_head.weight")
    (record,) = (r for r in presets.list_models(name) if r.name == name)
    assert record.parameters == count
