"""DINOv2 against transformers, from the files to states, classes and vectors, and back to files.

float64 is held to 1e-9: both sides differ by the order of sums only (measured 5e-15). `Float64` keeps the reference
from rounding its positions to float32 on the way.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import zoo
from zoo.testing.subject import peaked
from zoo.verification.exact import Float64

pytestmark = pytest.mark.slow
SIZES = {
    "hidden_size": 24, "mlp_ratio": 2, "num_hidden_layers": 2, "num_attention_heads": 3, "image_size": 14,
    "patch_size": 4,
}  # fmt: skip
CLASSES = [
    ("Dinov2Model", {}),
    ("Dinov2Model", {"use_swiglu_ffn": True, "use_mask_token": False, "qkv_bias": False}),
    ("Dinov2ForImageClassification", {"id2label": {0: "a", 1: "b", 2: "c"}}),
    ("Dinov2WithRegistersModel", {"use_swiglu_ffn": True, "num_register_tokens": 3}),
    ("Dinov2WithRegistersForImageClassification", {"num_labels": 3}),
]


def close(found: Tensor, expected: Tensor, limit: float = 1e-9) -> None:
    assert found.shape == expected.shape
    assert (found.double() - expected.double()).abs().max().item() < limit


@pytest.fixture(scope="module")
def transformers() -> ModuleType:
    return pytest.importorskip("transformers", reason="the reference extra is not installed")


def made(transformers: ModuleType, name: str, folder: Path, more: dict[str, Any]) -> Any:
    cls = getattr(transformers, name)
    model = peaked(cls(cls.config_class(**SIZES, **more)).double()).eval()
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize(("name", "more"), CLASSES, ids=[f"{i}-{name}" for i, (name, _) in enumerate(CLASSES)])
@torch.inference_mode()
def test_states_and_classes_equal_the_reference(
    name: str, more: dict[str, Any], tmp_path: Path, transformers: ModuleType
) -> None:
    reference = made(transformers, name, tmp_path / "in", more)
    model = zoo.load(tmp_path / "in", dtype="float64")
    draw = torch.Generator().manual_seed(0)
    for sides in ((14, 14), (8, 8), (8, 20), (12, 12)):
        pixels = torch.randn(2, 3, *sides, generator=draw, dtype=torch.float64)
        with Float64():
            expected = reference(pixels)
        out = model(pixels)
        if "Image" in name:
            close(out.logits, expected.logits)
        else:
            close(out.hidden, expected.last_hidden_state)
            close(out.pooled, expected.pooler_output)
            if more.get("use_mask_token", True):
                masked = torch.rand(2, (sides[0] // 4) * (sides[1] // 4), generator=draw) < 0.4
                with Float64():
                    expected = reference(pixels, bool_masked_pos=masked)
                close(model(pixels, masked).hidden, expected.last_hidden_state)
    zoo.save(model, tmp_path / "out")
    first, second = (load_file(tmp_path / at / "model.safetensors") for at in ("in", "out"))
    assert first.keys() == second.keys()
    assert all(torch.equal(tensor, second[n]) for n, tensor in first.items())


@torch.inference_mode()
def test_pictures_are_read_as_the_owner_reads_them(tmp_path: Path, transformers: ModuleType) -> None:
    image = pytest.importorskip("PIL.Image", reason="the vision extra is not installed")
    settings = {  # those of facebook/dinov2-base, of fewer pixels
        "crop_size": {"height": 12, "width": 12}, "do_center_crop": True, "do_convert_rgb": True, "do_normalize": True,
        "do_rescale": True, "do_resize": True, "image_mean": [0.485, 0.456, 0.406], "resample": 3,
        "image_processor_type": "BitImageProcessor", "image_std": [0.229, 0.224, 0.225],
        "rescale_factor": 0.00392156862745098, "size": {"shortest_edge": 16},
    }  # fmt: skip
    files = [tmp_path / "red.png", tmp_path / "blue.png"]
    for file in files:
        picture = image.linear_gradient("L").resize((40, 30)).convert("RGB")
        picture.paste(file.stem, (3, 5, 20, 21))
        picture.save(file)
    for name, more in (("Dinov2WithRegistersModel", {}), ("Dinov2ForImageClassification", CLASSES[2][1])):
        reference = made(transformers, name, tmp_path / name, more)
        (tmp_path / name / "preprocessor_config.json").write_text(json.dumps(settings))
        processor = transformers.BitImageProcessorPil.from_pretrained(tmp_path / name)
        given = processor([image.open(file) for file in files], return_tensors="pt")["pixel_values"].double()
        with Float64():
            expected = reference(given)
        if "Image" not in name:
            close(zoo.embed(tmp_path / name, images=files, dtype="float64").vectors, expected.pooler_output)
            with pytest.raises(zoo.errors.UsageError, match="reads no texts"):
                zoo.embed(tmp_path / name, texts="A")
            continue
        found = zoo.classify(tmp_path / name, images=files, dtype="float64")
        for one, row in zip(found.inputs, expected.logits.softmax(-1), strict=True):
            close(torch.tensor([one.scores[label] for label in "abc"], dtype=torch.float64), row)
