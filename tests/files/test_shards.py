from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.files.make import sharded
from zoo.errors import CheckpointError
from zoo.files.checkpoint import open_checkpoint

A, B = {"a": torch.ones(2), "b": torch.zeros(3)}, {"c": torch.ones(4)}
FILES = {"model-1.safetensors": A, "model-2.safetensors": B}


def test_shards_are_read_by_the_index(tmp_path: Path) -> None:
    sharded(tmp_path, FILES)
    (tmp_path / "model-9.safetensors").write_bytes(b"left over from another download")
    checkpoint = open_checkpoint(tmp_path)
    assert set(checkpoint.tensors) == {"a", "b", "c"}
    assert [file.name for file in checkpoint.files] == list(FILES)
    with checkpoint.open() as tensors:
        assert {name: tensor.tolist() for name, tensor in tensors.items()} == {
            "a": [1, 1],
            "b": [0, 0, 0],
            "c": [1, 1, 1, 1],
        }


ONE, TWO, THREE = (f"model-{n}.safetensors" for n in "123")


@pytest.mark.parametrize(
    ("weight_map", "message"),
    [
        ({"a": ONE, "b": ONE, "c": THREE}, f"{THREE}: c: the file is missing"),
        ({"a": ONE, "b": TWO, "c": TWO}, f"{ONE}: b: is here, but"),
        ({"a": ONE, "c": TWO}, f"{ONE}: b: model.safetensors.index.json does not name"),
        ({"a": ONE, "b": ONE, "c": TWO, "d": TWO}, f"{TWO}: d: is not in the file"),
        ({"a": "../model-1.safetensors"}, "a: names the file '../model-1.safetensors'"),
        ({"a": "/etc/passwd"}, "a: names the file '/etc/passwd'"),
        ({"a": "sub\\model"}, "a: names the file"),
        ({"a": ".."}, "a: names the file '..'"),
        ({"a": "x\x1b[31m"}, r"a: names the file 'x\x1b[31m'"),
        ({"a": ""}, "a: '' is not the name of a file"),
        ({"a": 3}, "a: 3 is not the name of a file"),
        ({}, "weight_map: is not a table"),
        ([], "weight_map: is not a table"),
    ],
)
def test_an_index_that_does_not_fit_is_refused_by_file_and_tensor(
    tmp_path: Path, weight_map: Any, message: str
) -> None:
    sharded(tmp_path, FILES, weight_map)
    with pytest.raises(CheckpointError) as error:
        open_checkpoint(tmp_path)
    assert message in str(error.value)


def test_a_tensor_in_two_shards_is_refused(tmp_path: Path) -> None:
    sharded(tmp_path, {"model-1.safetensors": A, "model-2.safetensors": B | {"a": torch.ones(2)}})
    with pytest.raises(CheckpointError, match=r"model-1.safetensors: a: is here, but .* says it is in model-2"):
        open_checkpoint(tmp_path)


def test_an_index_without_a_weight_map_is_refused(tmp_path: Path) -> None:
    sharded(tmp_path, FILES)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}}))
    with pytest.raises(CheckpointError, match="weight_map: is not a table"):
        open_checkpoint(tmp_path)


def test_a_shard_that_is_a_folder_is_refused(tmp_path: Path) -> None:
    sharded(tmp_path, FILES)
    (tmp_path / "model-2.safetensors").unlink()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "model-2.safetensors").symlink_to("elsewhere")
    with pytest.raises(CheckpointError, match="is a folder, not a regular file"):
        open_checkpoint(tmp_path)
