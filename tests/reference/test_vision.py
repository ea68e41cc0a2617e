"""Qwen2-VL, Qwen2.5-VL, Qwen3-VL, CLIP and ViT against transformers, from the files to logits and back to files.

float64 is held to 1e-9: both sides compute in float64 and differ by the order of sums only (measured 1e-14). float32 is
held to 1e-4 of logits whose std is about 1.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import zoo
from tests.reference.conftest import Case, over
from zoo.nn import Span, hidden_states

pytestmark = pytest.mark.slow


qwens = over("qwen2-vl", "qwen2.5-vl", "qwen3-vl", "qwen3-vl-moe")


def close(found: Tensor, expected: Tensor, limit: float = 1e-9) -> None:
    assert found.shape == expected.shape
    assert (found.double() - expected.double()).abs().max().item() < limit


def images_of(case: Case) -> dict[str, Tensor]:
    return {"pixels": case.inputs["pixel_values"], "grid": case.inputs["image_grid_thw"]}


@qwens
@torch.inference_mode()
def test_logits_of_images_and_text_equal_the_reference(case: Case) -> None:
    images = images_of(case)
    close(case.model.visual(images["pixels"].double(), images["grid"]), case.expected["visual_output"])
    close(case.model(case.inputs["input_ids"], **images), case.expected["logits"], 1e-9)
    close(case.model(case.inputs["text.input_ids"]), case.expected["text.logits"])
    float32 = zoo.load(case.folder, dtype="float32")
    close(float32(case.inputs["input_ids"], **images), case.expected["logits"], 1e-4)


@qwens
@torch.inference_mode()
def test_positions_of_images_equal_the_reference(case: Case) -> None:
    tokens = case.inputs["input_ids"]
    found, offsets = case.model.places(tokens, Span(*tokens.shape, tokens.device), grid=images_of(case)["grid"])
    assert torch.equal(found, case.expected["position_ids"])
    assert torch.equal(offsets[:, None], case.expected["rope_deltas"])


@qwens
@torch.inference_mode()
def test_logits_of_videos_equal_the_reference_at_its_positions(case: Case) -> None:
    """Which are given, since the reference's own rule for the text after a video is wrong (docs/deviations.md)."""
    video = {
        "video_pixels": case.inputs["video.pixel_values_videos"],
        "video_grid": case.inputs["video.video_grid_thw"],
    }
    found = case.model(case.inputs["video.input_ids"], positions=case.expected["video.position_ids"], **video)
    close(found, case.expected["video.logits"])


@qwens
@torch.inference_mode()
def test_greedy_text_after_images_equals_the_reference(case: Case) -> None:
    tokens, expected = case.inputs["input_ids"], case.expected["generate.logits"]
    cache = case.model.new_cache(1, tokens.shape[1] + 8)
    steps = [case.model(tokens, cache=cache, last=True, **images_of(case))]
    assert torch.equal(cache.offsets[:, None], case.expected["rope_deltas"])
    while len(steps) < 8:
        steps.append(case.model(steps[-1].argmax(-1), cache=cache))
    close(torch.cat(steps, 1), expected)
    assert torch.equal(torch.cat(steps, 1).argmax(-1), case.expected["generate.sequences"][:, -8:])


@over("clip")
@torch.inference_mode()
def test_CLIP_equals_the_reference(case: Case) -> None:
    mask = case.inputs["attention_mask"].bool()
    out = case.model(case.inputs["input_ids"], case.inputs["pixel_values"], mask)
    close(out.logits, case.expected["logits_per_image"])
    close(out.text, case.expected["text_embeds"])
    close(out.image, case.expected["image_embeds"])
    close(out.text_hidden[mask], case.expected["text_last_hidden"][mask])
    close(out.image_hidden, case.expected["vision_last_hidden"])


@over("vit")
@torch.inference_mode()
def test_ViT_equals_the_reference(case: Case) -> None:
    pixels = case.inputs["pixel_values"]
    close(case.model(pixels).logits, case.expected["logits"])
    close(torch.stack(hidden_states(case.model, pixels)[:-1]), case.expected["hidden_states"])


@over("qwen2-vl", "qwen2.5-vl", "qwen3-vl", "qwen3-vl-moe", "clip", "vit")
def test_export_gives_the_tensors_and_the_config_back(case: Case, tmp_path: Path) -> None:
    zoo.save(zoo.load(case.folder), tmp_path / "out")
    ledger = zoo.inspect(case.folder)
    # The maker's file of Qwen3-VL names float32 within its group, whatever it stores.
    assert replace(zoo.inspect(tmp_path / "out").config, dtype="") == replace(ledger.config, dtype="")
    back = load_file(tmp_path / "out" / "model.safetensors")
    kept = {name: t for name, t in case.stored.items() if name not in ledger.account.ignored}
    assert kept.keys() == back.keys()
    for name, tensor in kept.items():
        if case.name == "qwen3-vl-moe" and ".experts." in name and "hubnames" not in case.folder.name:
            tensor = tensor.mT  # as transformers 5 turns them; zoo writes them as they were released
        assert tensor.dtype == back[name].dtype
        assert torch.equal(tensor.reshape(-1).view(torch.uint8), back[name].reshape(-1).view(torch.uint8)), name


CLIP_PARTS = ["CLIPTextModel", "CLIPTextModelWithProjection", "CLIPVisionModel", "CLIPVisionModelWithProjection"]


@pytest.mark.parametrize("name", CLIP_PARTS)
@pytest.mark.parametrize("eos", [2, 49])
@torch.inference_mode()
def test_a_tower_of_CLIP_alone_equals_the_reference(name: str, eos: int, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {
        "hidden_size": 24,
        "intermediate_size": 40,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "projection_dim": 18,
    }
    is_text = "Text" in name
    more = {"vocab_size": 50, "eos_token_id": eos} if is_text else {"image_size": 12, "patch_size": 4}
    cls = getattr(transformers, name)
    reference = cls(cls.config_class(**sizes, **more)).double().eval()
    reference.save_pretrained(tmp_path / "in")
    model = zoo.load(tmp_path / "in", dtype="float64")
    generator = torch.Generator().manual_seed(0)
    if is_text:
        tokens = torch.randint(3, 49, (3, 9), generator=generator)
        tokens[:, 6] = 49
        expected, out = reference(tokens), model(tokens)
        found = out.text
    else:
        pixels = torch.randn(2, 3, 12, 12, generator=generator, dtype=torch.float64)
        expected, out = reference(pixels), model(pixels=pixels)
        found = out.image
    if "Projection" in name:
        embeds = expected.text_embeds if is_text else expected.image_embeds
        close(found, embeds / embeds.norm(dim=-1, keepdim=True))
    else:
        close(found, expected.pooler_output)
    zoo.save(model, tmp_path / "out")
    assert zoo.load(tmp_path / "out").config == model.config
    again = cls.from_pretrained(tmp_path / "out", dtype=torch.float64)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), reference.parameters(), strict=True))


@pytest.mark.parametrize("sides", [(32, 32), (48, 24)])
@torch.inference_mode()
def test_ViT_with_a_pooler_and_of_other_sizes_equals_the_reference(sides: tuple[int, int], tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=3, image_size=32, patch_size=8
    )
    reference = transformers.ViTModel(config).double().eval()
    reference.save_pretrained(tmp_path / "in")
    pixels = torch.randn(2, 3, *sides, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = reference(pixels, interpolate_pos_encoding=True)
    out = zoo.load(tmp_path / "in", dtype="float64")(pixels)
    close(out.hidden, expected.last_hidden_state)
    close(out.pooled, expected.pooler_output)
