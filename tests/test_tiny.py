"""The model in the box says what its card says, to us and to transformers, and its recipe keeps held-out text apart."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import yaml
from torch.nn import functional as F

import zoo
from zoo.generation import GenerationConfig
from zoo.text import Tokenizer

MODELS = Path(zoo.__file__).parent / "box"
FOLDER = MODELS / "tiny"
CONTEXT = 256  # tokens
CARD: dict[str, Any] = yaml.safe_load((FOLDER / "README.md").read_text().split("---\n")[1])
SAMPLES = [(sample["text"], sample["output"]["text"]) for sample in CARD["widget"]]


@pytest.fixture(scope="module")
def model() -> Any:
    return zoo.load(FOLDER, dtype="float32")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_folder(FOLDER)


@pytest.fixture(scope="module")
def reference() -> Any:
    transformers = pytest.importorskip("transformers", reason="the reference extra is not installed")
    return transformers.AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float32)


def windows(ids: list[int]) -> list[torch.Tensor]:
    """Consecutive windows of CONTEXT predictions; each begins with the last token of the one before."""
    return [torch.tensor(ids[start : start + CONTEXT + 1]) for start in range(0, len(ids) - 1, CONTEXT)]


def sample_ids(tokenizer: Tokenizer) -> list[int]:
    return tokenizer.encode((MODELS / "sample.txt").read_text())


def metric(kind: str) -> float:
    metrics = CARD["model-index"][0]["results"][0]["metrics"]
    return next(metric["value"] for metric in metrics if metric["type"] == kind)


def test_preset_describes_the_checkpoint(model: Any) -> None:
    described, found = zoo.compose("tiny").to_dict(), model.config.to_dict()
    about = ("hub", "license", "source", "gated")  # what no config.json tells
    assert {k: v for k, v in described.items() if k not in about} == {k: v for k, v in found.items() if k not in about}


def test_it_has_about_a_million_parameters_in_two_megabytes(model: Any) -> None:
    assert 1.0e6 < sum(p.numel() for p in model.parameters()) < 1.1e6
    assert (FOLDER / "model.safetensors").stat().st_size < 2.2e6


def test_any_text_survives_the_tokenizer(tokenizer: Tokenizer) -> None:
    text = 'Emma\'s "naïve" 猫\n\n  paid £5\t– ok?'
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_every_text_begins_with_bos(tokenizer: Tokenizer, model: Any) -> None:
    assert tokenizer.encode("One day")[0] == tokenizer.bos_token_id == model.config.bos_token_id
    assert [tokenizer.eos_token_id] == model.config.eos_token_id


@pytest.mark.slow
@pytest.mark.parametrize(("prompt", "text"), SAMPLES, ids=[prompt for prompt, _ in SAMPLES])
def test_greedy_text_is_what_the_card_says(model: Any, tokenizer: Tokenizer, prompt: str, text: str) -> None:
    settings = GenerationConfig(max_new_tokens=60, repetition_penalty=1.2)
    assert zoo.generate(model, prompt, tokenizer=tokenizer, config=settings).text == text


@pytest.mark.slow
def test_perplexity_on_the_sample_is_what_the_card_says(model: Any, tokenizer: Tokenizer) -> None:
    ids, nats = sample_ids(tokenizer), 0.0
    with torch.no_grad():
        for window in windows(ids):
            nats += F.cross_entropy(model(window[None, :-1])[0], window[1:], reduction="sum").item()
    num_bytes = (MODELS / "sample.txt").stat().st_size
    # The sums of float32 differ in their last digits between processors, by far less than a thousandth here.
    assert math.exp(nats / (len(ids) - 1)) == pytest.approx(metric("perplexity"), rel=1e-3)
    assert nats / math.log(2) / num_bytes == pytest.approx(metric("bits_per_byte"), rel=1e-3)


@pytest.mark.slow
def test_transformers_gives_the_same_logits(model: Any, reference: Any, tokenizer: Tokenizer) -> None:
    tokens = torch.stack(windows(sample_ids(tokenizer))[:2])[:, :-1]
    with torch.no_grad():
        ours, theirs = model(tokens), reference(tokens).logits
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)  # float32, five layers


@pytest.mark.slow
def test_transformers_says_what_the_card_says(reference: Any) -> None:
    transformers = pytest.importorskip("transformers", reason="the reference extra is not installed")
    tokenizer = transformers.AutoTokenizer.from_pretrained(FOLDER)
    prompt, text = SAMPLES[0]
    out = reference.generate(**tokenizer(prompt, return_tensors="pt"), max_new_tokens=60)
    assert tokenizer.decode(out[0], skip_special_tokens=True) == prompt + text


@pytest.fixture(scope="module")
def corpus() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "tiny_corpus", Path(__file__).parents[1] / "tools" / "tiny" / "corpus.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # A dataclass looks its module up by name while it is being made.
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(__import__("sys").modules, "tiny_corpus", module)
        spec.loader.exec_module(module)
    return module


def r_vector(lines: list[str]) -> bytes:
    """A character vector as an R lazy-load database holds it."""
    strings = b"".join(struct.pack(">ii", 0x40009, len(s.encode())) + s.encode() for s in lines)
    value = (
        b"X\n" + struct.pack(">iiii", 3, 0x40200, 0x30500, 5) + b"UTF-8" + struct.pack(">ii", 16, len(lines)) + strings
    )
    return struct.pack(">I", len(value)) + zlib.compress(value)


def novel(num_chapters: int) -> list[str]:
    lines = ["TITLE", "", "VOLUME I", ""]
    for i in range(num_chapters):
        lines += [f"CHAPTER {i + 1}", "", f"It is  _chapter_ {i}", "of some.", "", '"Oh!"', ""]
    return [*lines, "THE END", "", "a note"]


def test_recipe_reads_the_novels_of_the_package(corpus: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "Rdata.rdb"
    file.write_bytes(r_vector(novel(10)) + r_vector(novel(8)))
    text = corpus.read_corpus(file)
    assert text.train[0] == 'It is chapter 0 of some.\n"Oh!"\n'
    assert (len(text.train), len(text.validation), len(text.test)) == (12, 4, 2)


def test_recipe_keeps_the_test_away_from_training_text(corpus: ModuleType) -> None:
    text = corpus.split([[str(i) for i in range(20)]])
    (test,) = text.test
    assert {str(int(test) - 1), str(int(test) + 1)} == set(text.validation)
    assert not {test, *text.validation} & set(text.train)


@pytest.mark.slow
def test_recipe_is_a_run_of_zoo_train(corpus: ModuleType, tmp_path: Path) -> None:
    chapters = [f"It is chapter {i}.\nOh, {i}!\n" * 40 for i in range(4)]
    corpus.write_chapters(tmp_path / "train.jsonl", chapters)
    corpus.write_chapters(tmp_path / "validation.jsonl", chapters[:1])
    short = ["train.steps=2", "schedule.warmup=1", "data.length=16", "model.num_layers=1", "--json"]
    recipe = Path(__file__).parents[1] / "tools" / "tiny" / "recipe"
    place = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        [recipe, tmp_path, tmp_path / "run", *short], env=place, check=True, capture_output=True, text=True
    )
    found = json.loads(done.stdout)
    assert found["validation"] > 0
    told = found["recipe"]
    assert (told["data"]["order"], told["data"]["row_starts"]) == ("random", "\n")
    assert (told["optimizer"]["lr"], told["schedule"]["final"]) == (4e-3, 0.01)
