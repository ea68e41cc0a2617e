"""SigLIP 2 for pictures of any size against transformers: patches of several shapes, padded, and from files.

float64 is held to 1e-9: both sides differ by the order of sums only (measured 4e-15). `Float64` keeps the reference
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
SIZES = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 3}
TEXT = {**SIZES, "vocab_size": 60, "max_position_embeddings": 9, "projection_size": 32}
VISION = {**SIZES, "hidden_size": 32, "num_attention_heads": 4, "num_patches": 9, "patch_size": 4}
TOKENS = torch.tensor([[5, 6, 7, 1, 1, 1], [8, 9, 10, 11, 12, 1]])
SHAPES = torch.tensor([[2, 5], [3, 3], [1, 12]])
WORDS = ["<pad>", "<eos>", "a", "cat", "dog", "this", "is", "photo", "of", ".", "This"]


def close(found: Tensor, expected: Tensor, limit: float = 1e-9) -> None:
    assert found.shape == expected.shape
    assert (found.double() - expected.double()).abs().max().item() < limit


@pytest.fixture(scope="module")
def transformers() -> ModuleType:
    return pytest.importorskip("transformers", reason="the reference extra is not installed")


def made(transformers: ModuleType, name: str, folder: Path, **more: Any) -> Any:
    cls = getattr(transformers, name)
    parts = {"text_config": TEXT, "vision_config": VISION}
    values = parts if cls.config_class.model_type == "siglip2" else VISION
    model = peaked(cls(cls.config_class(**values, **more)).double()).eval()
    model.save_pretrained(folder)
    return model


def pictures() -> dict[str, Tensor]:
    """Patches of three pictures, as their model takes them."""
    patches = torch.randn(3, 12, 48, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mask = torch.arange(12) < SHAPES.prod(1)[:, None]
    return {"pixel_values": patches, "spatial_shapes": SHAPES, "pixel_attention_mask": mask.long()}


@torch.inference_mode()
def test_pictures_of_several_shapes_equal_the_reference(tmp_path: Path, transformers: ModuleType) -> None:
    reference = made(transformers, "Siglip2Model", tmp_path / "in")
    model, given = zoo.load(tmp_path / "in", dtype="float64"), pictures()
    with Float64():
        expected = reference(input_ids=TOKENS, **given)
    out = model(TOKENS, given["pixel_values"], shapes=SHAPES)
    close(out.logits, expected.logits_per_image)
    close(out.text, expected.text_embeds)
    close(out.image, expected.image_embeds)
    close(out.image_hidden, expected.vision_model_output.last_hidden_state)
    alone = model(pixels=given["pixel_values"][:1, :10], shapes=SHAPES[:1])
    close(alone.image, out.image[:1])  # its padding changed nothing
    zoo.save(model, tmp_path / "out")
    first, second = (load_file(tmp_path / at / "model.safetensors") for at in ("in", "out"))
    assert first.keys() == second.keys()
    assert all(torch.equal(tensor, second[n]) for n, tensor in first.items())


@pytest.mark.parametrize("name", ["Siglip2VisionModel", "Siglip2ForImageClassification"])
@torch.inference_mode()
def test_its_tower_alone_and_with_classes_equals_the_reference(
    name: str, tmp_path: Path, transformers: ModuleType
) -> None:
    more = {"num_labels": 3} if "Image" in name else {}
    reference, given = made(transformers, name, tmp_path, **more), pictures()
    with Float64():
        expected = reference(**given)
    out = zoo.load(tmp_path, dtype="float64")(pixels=given["pixel_values"], shapes=SHAPES)
    if "Image" in name:
        close(out.logits, expected.logits)
    else:
        close(out.image, expected.pooler_output)


@torch.inference_mode()
def test_pictures_are_cut_into_patches_as_the_owner_cuts_them(transformers: ModuleType) -> None:
    theirs = pytest.importorskip("transformers.models.siglip2.image_processing_pil_siglip2")
    model = zoo.build("siglip2-base-patch16-naflex", "model.vision.num_layers=1", "model.text=null", device="meta")
    images = torch.randn(2, 3, 32, 80, generator=torch.Generator().manual_seed(1))
    patches, shapes = model.patched(images)
    assert shapes.tolist() == [[2, 5]] * 2
    for image, found in zip(images, patches, strict=True):
        assert torch.equal(found, torch.from_numpy(theirs.convert_image_to_patches(image.numpy(), 16)))


@pytest.mark.parametrize("side", ["left", "right"])
@torch.inference_mode()
def test_texts_and_pictures_are_read_as_the_owner_reads_them(
    side: str, tmp_path: Path, transformers: ModuleType
) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    image = pytest.importorskip("PIL.Image", reason="the vision extra is not installed")
    theirs = pytest.importorskip("transformers.models.siglip2.image_processing_pil_siglip2")
    model = made(transformers, "Siglip2Model", tmp_path)
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="."))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing("$A <eos>", special_tokens=[("<eos>", 1)])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    named = {"tokenizer_class": "GemmaTokenizer", "padding_side": side, "pad_token": "<pad>", "eos_token": "<eos>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(named))
    settings = {
        "image_processor_type": "Siglip2ImageProcessor", "patch_size": 4, "max_num_patches": 12, "resample": 2,
        "do_resize": True, "do_rescale": True, "do_normalize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3,
        "processor_class": "Siglip2Processor", "rescale_factor": 0.00392156862745098, "do_convert_rgb": None,
    }  # fmt: skip
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    files = [tmp_path / "wide.png", tmp_path / "tall.png", tmp_path / "thin.png"]
    for file, size in zip(files, ((70, 20), (21, 33), (90, 7)), strict=True):
        image.linear_gradient("L").resize(size).convert("RGB").save(file)
    processor = theirs.Siglip2ImageProcessorPil.from_pretrained(tmp_path)
    given = dict(processor([image.open(file) for file in files], return_tensors="pt"))
    given["pixel_values"] = given["pixel_values"].double()
    ids = [WORDS.index(word) for word in "this is a photo of dog . <eos>".split()]
    row = [0] * (9 - len(ids)) + ids if side == "left" else ids + [0] * (9 - len(ids))
    with Float64():
        expected = model(input_ids=torch.tensor([row]), **given)
    found = zoo.classify(tmp_path, images=files, labels=["Dog"], dtype="float64")
    close(torch.tensor([[one.scores["Dog"]] for one in found.inputs]), expected.logits_per_image.sigmoid(), 1e-7)
    close(zoo.embed(tmp_path, images=files, dtype="float64").vectors, expected.image_embeds)
