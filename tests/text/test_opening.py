"""A tokenizer is found by all the ways in which people call a model."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoo.errors import CheckpointError, UnknownName
from zoo.text import open_tokenizer

from .kinds import made
from .tiny import byte_level, write


def test_a_preset_in_the_box_a_folder_and_a_file_in_it(tmp_path: Path):
    assert open_tokenizer("tiny").vocab_size == 2048
    folder = write(tmp_path, byte_level())
    (folder / "model.safetensors").write_bytes(b"not looked at")
    assert open_tokenizer(folder).encode("the") == open_tokenizer(folder / "model.safetensors").encode("the")
    assert open_tokenizer(str(folder)).kind == "BPE (tokenizer.json)"


def test_a_folder_needs_no_weights(tmp_path: Path):
    made.write_ranks(tmp_path / "qwen.tiktoken")
    assert open_tokenizer(tmp_path).kind == "tiktoken (Qwen) (qwen.tiktoken)"


def test_what_is_not_there_is_told(tmp_path: Path):
    with pytest.raises(CheckpointError, match="is not there"):
        open_tokenizer(tmp_path / "nothing")
    with pytest.raises(UnknownName, match="did you mean: tiny"):
        open_tokenizer("tinyy")
