"""`zoo.classify` against transformers: texts, tokens, rewards, and CLIP's pictures by labels.

Probabilities in float32 are held to 1e-5 (measured 1e-7).
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from click.testing import CliRunner

import zoo
from tests.embedding.folders import classifier
from zoo.cli import main
from zoo.errors import UsageError
from zoo.registry import installed

pytestmark = pytest.mark.slow
TEXTS = ["One day a girl went to the park.", "The dog"]


@pytest.fixture(scope="module")
def transformers() -> ModuleType:
    return pytest.importorskip("transformers", reason="the reference extra is not installed")


@torch.inference_mode()
def test_classes_of_texts_equal_the_reference(tmp_path: Path, transformers: ModuleType) -> None:
    folder = classifier(tmp_path / "a", num_labels=3, labels=["bad", "so so", "good"])
    found = zoo.classify(folder, texts=TEXTS)
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    tokenizer = zoo.load(folder).tokenizer
    for text, one in zip(TEXTS, found.inputs, strict=True):
        expected = theirs(torch.tensor([tokenizer.encode(text)])).logits[0].softmax(-1)
        assert max(abs(one.scores[name] - expected[i].item()) for i, name in theirs.config.id2label.items()) < 1e-5
        assert [*one.scores.values()] == sorted(one.scores.values(), reverse=True)
    assert found.how == "softmax"
    raw = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(raw | {"problem_type": "multi_label_classification"}))
    alone = zoo.classify(folder, texts=TEXTS[0])
    assert alone.how == "sigmoid"
    logits = theirs(torch.tensor([tokenizer.encode(TEXTS[0])])).logits[0]
    assert abs(alone.inputs[0].scores["good"] - logits[2].sigmoid().item()) < 1e-5


def test_a_reward_is_given_as_it_is_without_padding_too(tmp_path: Path) -> None:
    folder = classifier(tmp_path / "a", num_labels=1, labels=["reward"], pad_token_id=None)
    found = zoo.classify(folder, texts=TEXTS)
    model = zoo.load(folder)
    for text, one in zip(TEXTS, found.inputs, strict=True):
        with torch.inference_mode():
            expected = model(torch.tensor([model.tokenizer.encode(text)])).logits.item()
        assert abs(one.scores["reward"] - expected) < 1e-5
    assert found.how == "score"


def test_classes_of_tokens_have_their_places(tmp_path: Path) -> None:
    folder = classifier(tmp_path / "a", head="token_classification", num_labels=2, labels=["O", "PER"])
    done = CliRunner().invoke(main, ["classify", str(folder), "-p", TEXTS[0], "--json"])
    assert done.exit_code == 0, done.output
    (one,) = json.loads(done.stdout)["inputs"]
    model = zoo.load(folder)
    ids = model.tokenizer.encode(TEXTS[0])
    with torch.inference_mode():
        expected = model(torch.tensor([ids])).logits[0].softmax(-1)
    assert len(one["tokens"]) == len(ids) - 1  # the first begins the text, and stands for none of it
    for row, token in zip(expected[1:], one["tokens"], strict=True):
        assert abs(token["scores"]["PER"] - row[1].item()) < 1e-5
        assert token["name"] == TEXTS[0][slice(*token["place"])]


def test_a_model_without_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="without a head for classes"):
        zoo.classify("tiny", texts="A")
    folder = classifier(tmp_path / "a", num_labels=2)
    for wrong, message in (
        ({"images": "cat.png"}, "no pictures"),
        ({}, "nothing"),
        ({"texts": "A", "labels": ["x"]}, "own"),
    ):
        with pytest.raises(UsageError, match=message):
            zoo.classify(folder, **wrong)


@pytest.fixture
def clip(tmp_path: Path, transformers: ModuleType) -> Path:
    """A tiny CLIP with a tokenizer of whole words and the settings of pictures."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = ["<s>", "cat", "dog", "this", "is", "a", "photo", "of", ".", "This", "<e>"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="."))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A <e>", special_tokens=[("<s>", 0), ("<e>", 10)])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    config = replace(installed()["clip"].config_class.tiny())
    zoo.save(zoo.build(config, device="cpu", seed=1), tmp_path / "clip")
    (tmp_path / "tokenizer.json").rename(tmp_path / "clip" / "tokenizer.json")
    side = config.vision.image_size
    settings = {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": side}, "crop_size": side}
    (tmp_path / "clip" / "preprocessor_config.json").write_text(json.dumps(settings))
    return tmp_path / "clip"


@torch.inference_mode()
def test_pictures_are_classified_by_labels_as_transformers_does(
    clip: Path, transformers: ModuleType, tmp_path: Path
) -> None:
    image = pytest.importorskip("PIL.Image", reason="the vision extra is not installed")
    pictures = [tmp_path / "red.png", tmp_path / "blue.png"]
    for file, colour in zip(pictures, ("red", "blue"), strict=True):
        image.new("RGB", (40, 30), colour).save(file)
    found = zoo.classify(clip, images=pictures, labels=["cat", "dog"])
    model = transformers.CLIPModel.from_pretrained(clip)
    processor = transformers.CLIPImageProcessor.from_pretrained(clip)
    pixels = processor([image.open(file) for file in pictures], return_tensors="pt")["pixel_values"]
    ids = torch.tensor([[0, 9, 4, 5, 6, 7, i, 8, 10] for i in (1, 2)])
    expected = model(input_ids=ids, pixel_values=pixels).logits_per_image.softmax(-1)
    for row, one in zip(expected, found.inputs, strict=True):
        assert abs(one.scores["cat"] - row[0].item()) < 1e-5
    vectors = zoo.embed(clip, texts="a photo", images=pictures).vectors
    theirs = [model(input_ids=torch.tensor([[0, 5, 6, 10]]), pixel_values=pixels)]
    assert (vectors[0] - theirs[0].text_embeds[0]).abs().max().item() < 1e-5
    assert (vectors[1:] - theirs[0].image_embeds).abs().max().item() < 1e-5
    with pytest.raises(UsageError, match="two labels or more"):
        zoo.classify(clip, images=pictures, labels=["cat"])
