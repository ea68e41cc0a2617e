"""A pointer of git-lfs in the place of a file is told as that, whichever file it stands for."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import zoo
from zoo.errors import CheckpointError
from zoo.files.regular import size_of
from zoo.text import Tokenizer

TINY = Path(zoo.__file__).parent / "box" / "tiny"
SHA = "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393"
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{SHA}\nsize 988097824\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(TINY, tmp_path / "clone"))


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "model.safetensors.index.json"])
def test_a_clone_without_its_files_is_told_what_to_do(folder: Path, name: str) -> None:
    if name.endswith("index.json"):
        (folder / "model.safetensors").unlink()
    (folder / name).write_text(POINTER)
    with pytest.raises(CheckpointError) as found:
        zoo.inspect(folder)
    assert f"{name}: is a git-lfs pointer to a file of 942.3 MiB" in str(found.value)  # 988,097,824 / 2^20
    assert "git lfs pull" in str(found.value)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.gguf"])
def test_a_pickle_or_a_gguf_file_is_none_either(folder: Path, name: str) -> None:
    (folder / "model.safetensors").unlink()
    (folder / name).write_text(POINTER)
    with pytest.raises(CheckpointError, match="git-lfs pointer"):
        zoo.inspect(folder / name if name.endswith("gguf") else folder, allow_pickle=True)


def test_a_tokenizer_is_none_either(folder: Path) -> None:
    (folder / "tokenizer.json").write_text(POINTER)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: is a git-lfs pointer"):
        Tokenizer.from_folder(folder)


@pytest.mark.parametrize(
    ("text", "is_pointer"),
    [
        (POINTER.replace("git-lfs", "hawser"), True),  # the first name of git-lfs
        (POINTER.replace("oid", "ext-0-foo sha256:12\noid"), True),
        (POINTER.replace("size 988097824", "size x"), False),
        (POINTER.replace("version", "a version"), False),
        (POINTER + "x" * 1024, False),
        ("{}", False),
    ],
)
def test_only_pointers_are_taken_for_one(tmp_path: Path, text: str, is_pointer: bool) -> None:
    file = tmp_path / "file"
    file.write_text(text)
    if is_pointer:
        with pytest.raises(CheckpointError, match="git-lfs pointer"):
            size_of(file)
    else:
        assert size_of(file) == len(text)
