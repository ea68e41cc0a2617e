"""SigLIP against transformers, from the files to logits, classes of pictures, and back to files.

float64 is held to 1e-9: both sides differ by the order of sums only (measured 3e-15). Vectors in float32 are held to
1e-5 of length 1 (measured 2e-7).
"""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch import Tensor

import zoo
from tests.text.kinds.made import T5, sentencepiece_model
from zoo.testing.subject import peaked
from zoo.verification import verify

pytestmark = pytest.mark.slow
SIZES = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 3}
TEXT = {**SIZES, "vocab_size": 60, "max_position_embeddings": 9, "projection_size": 32}
VISION = {**SIZES, "hidden_size": 32, "num_attention_heads": 4, "image_size": 14, "patch_size": 4}
TOKENS = torch.tensor([[5, 6, 7, 1, 1, 1], [8, 9, 10, 11, 12, 1]])


@pytest.fixture(scope="module")
def transformers() -> ModuleType:
    return pytest.importorskip("transformers", reason="the reference extra is not installed")


def made(transformers: ModuleType, name: str, folder: Path, **more: Any) -> Any:
    """A model of transformers with its files."""
    cls = getattr(transformers, name)
    parts = {"text_config": TEXT, "vision_config": VISION}
    values = parts if cls.config_class.model_type == "siglip" else TEXT if "Text" in name else VISION
    model = peaked(cls(cls.config_class(**values, **more)).double()).eval()
    model.save_pretrained(folder)
    return model


def close(found: Tensor, expected: Tensor, limit: float = 1e-9) -> None:
    assert found.shape == expected.shape
    assert (found.double() - expected.double()).abs().max().item() < limit


def pixels(*sides: int) -> Tensor:
    return torch.randn(2, 3, *sides, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@torch.inference_mode()
def test_the_pair_equals_the_reference(tmp_path: Path, transformers: ModuleType) -> None:
    reference = made(transformers, "SiglipModel", tmp_path / "in")
    model = zoo.load(tmp_path / "in", dtype="float64")
    images = pixels(14, 14)
    for mask in (None, TOKENS != 1):
        expected = reference(input_ids=TOKENS, pixel_values=images, attention_mask=mask)
        out = model(TOKENS, images, mask)
        close(out.logits, expected.logits_per_image)
        close(out.text, expected.text_embeds)
        close(out.image, expected.image_embeds)
        close(out.text_hidden, expected.text_model_output.last_hidden_state)
        close(out.image_hidden, expected.vision_model_output.last_hidden_state)
    larger = pixels(20, 8)
    expected = reference(input_ids=TOKENS, pixel_values=larger, interpolate_pos_encoding=True)
    close(model(TOKENS, larger).logits, expected.logits_per_image)
    zoo.save(model, tmp_path / "out")
    first, second = (load_file(tmp_path / name / "model.safetensors") for name in ("in", "out"))
    assert first.keys() == second.keys()
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


@pytest.mark.parametrize("name", ["SiglipTextModel", "SiglipVisionModel"])
@pytest.mark.parametrize("is_named", [False, True])
@torch.inference_mode()
def test_a_tower_alone_equals_the_reference(
    name: str, is_named: bool, tmp_path: Path, transformers: ModuleType
) -> None:
    reference = made(transformers, name, tmp_path / "in")
    if is_named:  # as transformers 4 stored it
        file = tmp_path / "in" / "model.safetensors"
        tower = "text_model" if "Text" in name else "vision_model"
        save_file({f"{tower}.{n}": x for n, x in load_file(file).items()}, file, {"format": "pt"})
    model = zoo.load(tmp_path / "in", dtype="float64")
    given = TOKENS if "Text" in name else pixels(14, 14)
    out = model(given) if "Text" in name else model(pixels=given)
    close(out.text if "Text" in name else out.image, reference(given).pooler_output)
    assert is_named or verify(tmp_path / "in").passed


@torch.inference_mode()
def test_classes_of_pictures_equal_the_reference(tmp_path: Path, transformers: ModuleType) -> None:
    reference = made(transformers, "SiglipForImageClassification", tmp_path, id2label={0: "a", 1: "b", 2: "c"})
    model = zoo.load(tmp_path, dtype="float64")
    close(model(pixels=pixels(14, 14)).logits, reference(pixels(14, 14)).logits)
    assert model.config.labels == ["a", "b", "c"]
    image = pytest.importorskip("PIL.Image", reason="the vision extra is not installed")
    settings = {"image_processor_type": "SiglipImageProcessor", "size": {"height": 14, "width": 14}}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    image.new("RGB", (40, 30), "red").save(tmp_path / "red.png")
    found = zoo.classify(tmp_path, images=tmp_path / "red.png", dtype="float64").inputs[0].scores
    processor = transformers.SiglipImageProcessorPil.from_pretrained(tmp_path)
    given = processor(image.open(tmp_path / "red.png"), return_tensors="pt")["pixel_values"].double()
    close(torch.tensor([found[name] for name in "abc"]), reference(given).logits[0].softmax(-1), 1e-7)
    with pytest.raises(zoo.errors.UsageError, match="reads no texts"):
        zoo.embed(tmp_path, texts="A")


LABELS = ["Cat", "The dog's park"]


def paired(transformers: ModuleType, folder: Path, **settings: Any) -> Any:
    """A pair of towers with a tokenizer as SigLIP was released with it, and the settings of pictures."""
    data = sentencepiece_model(280, **T5 | {"pad_id": -1, "eos_id": 1, "unk_id": 2, "unk_piece": "<unk>"})
    text = {**TEXT, "vocab_size": 400, "max_position_embeddings": 24}
    config = transformers.SiglipConfig(text_config=text, vision_config=VISION)
    model = peaked(transformers.SiglipModel(config).double()).eval()
    model.save_pretrained(folder)
    (folder / "spiece.model").write_bytes(data)
    named = {"tokenizer_class": "SiglipTokenizer", "model_max_length": 24, "pad_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(named | settings))
    side = {"image_processor_type": "SiglipImageProcessor", "size": {"height": 14, "width": 14}}
    (folder / "preprocessor_config.json").write_text(json.dumps(side))
    return model


@pytest.mark.parametrize("settings", [{}, {"padding_side": "left"}])
@torch.inference_mode()
def test_texts_and_pictures_are_read_as_the_owner_reads_them(
    settings: dict[str, Any], tmp_path: Path, transformers: ModuleType
) -> None:
    image = pytest.importorskip("PIL.Image", reason="the vision extra is not installed")
    model = paired(transformers, tmp_path, **settings)
    tokenizer = transformers.SiglipTokenizer.from_pretrained(tmp_path)
    for text in ("One day, a GIRL went  to the park!", "I'm (here).", "dog " * 40):
        expected = tokenizer(text, truncation=True, max_length=24)["input_ids"]
        assert zoo.load(tmp_path).tokenizer.encode(text)[: len(expected) - 1] == expected[:-1]
    files = [tmp_path / "red.png", tmp_path / "blue.png"]
    for file in files:
        image.new("RGB", (40, 30), file.stem).save(file)
    found = zoo.classify(tmp_path, images=files, labels=LABELS, dtype="float64")
    words = [f"This is a photo of {label}." for label in LABELS]
    ids = tokenizer(words, padding="max_length", max_length=24, truncation=True, return_tensors="pt")["input_ids"]
    processor = transformers.SiglipImageProcessorPil.from_pretrained(tmp_path)
    given = processor([image.open(file) for file in files], return_tensors="pt")["pixel_values"].double()
    expected = model(input_ids=ids, pixel_values=given)
    assert found.how == "sigmoid"
    for row, one in zip(expected.logits_per_image.sigmoid(), found.inputs, strict=True):
        close(torch.tensor([one.scores[label] for label in LABELS]), row, 1e-7)
    vectors = zoo.embed(tmp_path, texts=words, images=files, dtype="float64").vectors
    close(vectors, torch.cat((expected.text_embeds, expected.image_embeds)), 1e-7)
    assert [*zoo.classify(tmp_path, images=files[0], labels=["Cat"]).inputs[0].scores] == ["Cat"]


def test_files_that_name_gemmas_class_and_small_letters_are_read_in_small_letters(
    tmp_path: Path, transformers: ModuleType
) -> None:
    """As those of SigLIP 2 do, which was trained so; transformers gives the class no word of it."""
    paired(transformers, tmp_path)
    (tmp_path / "spiece.model").unlink()
    words = {"<pad>": 0, "<eos>": 1, "<unk>": 2, "cat": 3, "Cat": 4}
    backend = Tokenizer(WordLevel(words, unk_token="<unk>"))
    backend.add_special_tokens(["<pad>", "<eos>", "<unk>"])
    backend.save(str(tmp_path / "tokenizer.json"))
    named = {"tokenizer_class": "GemmaTokenizer", "model_max_length": 24, "pad_token": "<pad>", "eos_token": "<eos>"}
    found = {}
    for is_lower in (True, False):
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(named | {"do_lower_case": is_lower}))
        found[is_lower] = zoo.load(tmp_path).tokenizer.encode("Cat")[0]
    assert found == {True: words["cat"], False: words["Cat"]}
