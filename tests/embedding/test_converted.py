"""What is converted gives the vectors and classes of what it was made of, bit for bit: the weights are the same."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer as Backend
from tokenizers import models, pre_tokenizers

import zoo
from tests.embedding.folders import KIND, classifier, sentence_folder, write
from zoo.errors import CheckpointError, ZooError, ZooWarning
from zoo.files.manifest import listed_files, verify_folder
from zoo.registry import installed

TEXTS = ["One day a girl went to the park.", "The dog"]
FORMATS = ("hf", "zoo", "dcp")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    settings: dict[str, Any] = {"prompts": {"query": "She said: "}, "default_prompt_name": "query"}
    return sentence_folder(tmp_path / "a", "max", "last", dense={}, include_prompt=False, **settings)


@pytest.mark.parametrize("format", FORMATS)
def test_vectors_of_an_encoder_are_those_of_the_source(format: str, tmp_path: Path) -> None:
    words = ["[PAD]", "[UNK]", "One", "day", "a", "girl", "went", "to", "the", "park", ".", "The", "dog"]
    made = Backend(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    folder = tmp_path / "a"
    zoo.save(zoo.build(replace(installed()["bert"].config_class.tiny(), head="none"), device="cpu"), folder)
    made.save(str(folder / "tokenizer.json"))
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    write(folder / "modules.json", [{"path": path, "type": KIND + kind} for path, kind in kinds.items()])
    write(folder / "1_Pooling" / "config.json", {"pooling_mode_max_tokens": True})
    zoo.convert(folder, tmp_path / "b", format=format)
    found = zoo.embed(tmp_path / "b", texts=TEXTS)
    assert found.how == "pooling max, length 1"
    assert torch.equal(found.vectors, zoo.embed(folder, texts=TEXTS).vectors)


def test_vectors_are_those_of_the_source(folder: Path, tmp_path: Path) -> None:
    zoo.convert(folder, tmp_path / "b", format="hf")
    found, source = zoo.embed(tmp_path / "b", texts=TEXTS), zoo.embed(folder, texts=TEXTS)
    assert found.how == source.how
    assert torch.equal(found.vectors, source.vectors)
    assert {"1_Pooling/config.json", "2_Dense/config.json", "2_Dense/model.safetensors", "modules.json"} <= {
        *listed_files(tmp_path / "b")
    }
    zoo.convert(tmp_path / "b", tmp_path / "c", format="hf")
    assert torch.equal(zoo.embed(tmp_path / "c", texts=TEXTS).vectors, source.vectors)


def test_a_saved_model_has_them_too_and_is_replaced_as_a_whole(folder: Path, tmp_path: Path) -> None:
    zoo.save(zoo.load(folder), tmp_path / "b")
    assert torch.equal(zoo.embed(tmp_path / "b", texts=TEXTS).vectors, zoo.embed(folder, texts=TEXTS).vectors)
    zoo.convert("tiny", tmp_path / "b", format="hf", force=True)
    assert not (tmp_path / "b" / "1_Pooling").exists()
    zoo.save(zoo.load(folder), tmp_path / "b", force=True)
    (tmp_path / "b" / "1_Pooling" / "mine.txt").write_text("a note")
    with pytest.raises(ZooError, match=r"did not write: '?1_Pooling"):
        zoo.save(zoo.load(folder), tmp_path / "b", force=True)


def test_a_module_that_was_changed_is_found(folder: Path, tmp_path: Path) -> None:
    zoo.convert(folder, tmp_path / "b", format="hf")
    file = tmp_path / "b" / "1_Pooling" / "config.json"
    file.write_bytes(file.read_bytes().replace(b"true", b"TRUE"))
    with pytest.raises(CheckpointError, match="not the file that"):
        verify_folder(tmp_path / "b")


@pytest.mark.parametrize("odd", ["elsewhere", "another name", "a pickle", "a link", "more"])
def test_what_cannot_go_along_whole_is_told_and_leaves_nothing_behind(odd: str, folder: Path, tmp_path: Path) -> None:
    modules = json.loads((folder / "modules.json").read_text())
    if odd == "elsewhere":
        modules[1]["path"] = "../1_Pooling"
        (folder / "1_Pooling").rename(tmp_path / "1_Pooling")
    elif odd == "another name":
        modules[1]["path"] = "pooling"
        (folder / "1_Pooling").rename(folder / "pooling")
    elif odd == "a pickle":
        (folder / "2_Dense" / "model.safetensors").rename(folder / "2_Dense" / "pytorch_model.bin")
    elif odd == "a link":
        (folder / "2_Dense").rename(tmp_path / "theirs")
        (folder / "2_Dense").symlink_to(tmp_path / "theirs")
    else:
        write(folder / "2_Dense" / "more.json", {})
    write(folder / "modules.json", modules)
    with pytest.warns(ZooWarning, match="nothing says how vectors are made"):
        zoo.convert(folder, tmp_path / "b", format="hf")
    written = {entry.name for entry in (tmp_path / "b").iterdir()}
    assert not written & {"modules.json", "1_Pooling", "2_Dense", "pooling", "config_sentence_transformers.json"}


def test_a_pickle_beside_the_same_weights_is_left_behind(folder: Path, tmp_path: Path) -> None:
    (folder / "2_Dense" / "pytorch_model.bin").write_bytes(b"")
    zoo.convert(folder, tmp_path / "b", format="hf")
    assert {entry.name for entry in (tmp_path / "b" / "2_Dense").iterdir()} == {"config.json", "model.safetensors"}


def test_a_gguf_file_does_not_say_how_and_so_it_is_told(folder: Path, tmp_path: Path) -> None:
    done = zoo.convert(folder, tmp_path / "b.gguf", format="gguf")
    assert any("does not say how vectors are made" in note for note in done.notes)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    ("keys", "how"),
    [
        ({"problem_type": "multi_label_classification"}, "sigmoid"),
        ({"problem_type": "regression"}, "score"),
        ({}, "softmax"),
    ],
)
def test_scores_come_about_as_in_the_source(format: str, keys: dict[str, str], how: str, tmp_path: Path) -> None:
    folder = classifier(tmp_path / "a", num_labels=3, labels=["x", "y", "z"])
    raw = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(raw | keys))
    if how == "sigmoid":  # config.json keeps its settings of generation where there is no such file
        write(folder / "generation_config.json", {"eos_token_id": 2})
    zoo.convert(folder, tmp_path / "b", format=format)
    found = zoo.classify(tmp_path / "b", texts=TEXTS)
    assert found.how == how
    assert [one.scores for one in found.inputs] == [one.scores for one in zoo.classify(folder, texts=TEXTS).inputs]


def test_an_activation_of_a_cross_encoder_goes_along(tmp_path: Path) -> None:
    folder = classifier(tmp_path / "a", num_labels=1, labels=["score"])
    raw = json.loads((folder / "config.json").read_text())
    said = {"sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Sigmoid", "version": "4.1.0"}}
    (folder / "config.json").write_text(json.dumps(raw | said))
    for format in FORMATS:
        zoo.convert(folder, tmp_path / format, format=format)
        assert zoo.classify(tmp_path / format, texts=TEXTS).how == "sigmoid"
