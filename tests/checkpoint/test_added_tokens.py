"""A tokenizer with a token that has no row in the embedding: what reads texts refuses it in words, wherever that is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from tokenizers import Tokenizer as Backend

import zoo
from zoo.cli import main
from zoo.errors import UsageError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = zoo.save(zoo.load("tiny"), tmp_path_factory.mktemp("added") / "model")
    file = found / "tokenizer.json"
    backend = Backend.from_file(str(file))
    assert backend.add_tokens(["<think>"]) == 1
    backend.save(str(file))
    return found


WAYS: dict[str, Callable[[Path, Path], object]] = {
    "eval": lambda folder, text: zoo.evaluate(str(folder), text=text),
    "embed": lambda folder, text: zoo.embed(str(folder), texts=["a <think>"], pooling="mean"),
    "generate": lambda folder, text: zoo.load(folder).generate("a <think>", max_new_tokens=2),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_token_without_a_row_is_refused_in_words(folder: Path, way: str, tmp_path: Path) -> None:
    """torch would end in an IndexError, on a GPU in an assertion of the device."""
    text = tmp_path / "text.txt"
    text.write_text("One day <think> she was happy. " * 9)
    with pytest.raises(UsageError, match=r"the token 2048 \('<think>'\), outside the model's vocabulary of 2048\n"):
        WAYS[way](folder, text)


@pytest.mark.slow
def test_training_refuses_it_before_the_first_step(folder: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("One day <think> she was happy. " * 9)
    words = ["train", str(folder), f"data={text}", "data.length=16", "train.steps=1", f"save={tmp_path / 'run'}"]
    done = CliRunner().invoke(main, words)
    assert (done.exit_code, "outside the model's vocabulary of 2048" in done.stderr) == (2, True)
    assert not (tmp_path / "run").exists()


def test_texts_without_it_are_read(folder: Path) -> None:
    tokenizer = zoo.load(folder).tokenizer
    assert tokenizer.encode("One day") == zoo.load("tiny").tokenizer.encode("One day")
