"""Which files of a repository are a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from zoo.errors import CheckpointError
from zoo.hub.listing import choose, companions


def chosen(names: str, path: str = "", *, allow_pickle: bool = False, index: dict[str, str] | None = None) -> set[str]:
    def read(name: str) -> Path:
        raise AssertionError(f"{name} is read")

    return choose("hf://a/b", names.split(), path, allow_pickle=allow_pickle, read=read)


@pytest.mark.parametrize(
    ("names", "path", "allow_pickle", "expected"),
    [
        ("config.json model.safetensors x.safetensors sub/config.json", "", False, "config.json model.safetensors"),
        ("config.json model.safetensors pytorch_model.bin", "", True, "config.json model.safetensors"),
        ("config.json pytorch_model.bin", "", True, "config.json pytorch_model.bin"),
        ("params.json consolidated.00.pth consolidated.01.pth consolidated.1.pth", "", True,
         "params.json consolidated.00.pth consolidated.01.pth"),
        ("a/config.json a/model.safetensors config.json", "a", False, "a/config.json a/model.safetensors"),
        ("m-00001-of-00002.gguf m-00002-of-00002.gguf m-00001-of-00003.gguf", "m-00002-of-00002.gguf", False,
         "m-00001-of-00002.gguf m-00002-of-00002.gguf"),
        ("a/config.json a/x.gguf", "a/x.gguf", False, "a/x.gguf"),
        ("a/config.json a/x.bin b.json", "a/x.bin", False, "a/x.bin a/config.json"),
        ("config.json x.py vocab.txt merges.txt notes.txt t.model q.tiktoken c.jinja model.safetensors", "", False,
         "config.json vocab.txt merges.txt t.model q.tiktoken c.jinja model.safetensors"),
    ],
)  # fmt: skip
def test_the_files_of_a_checkpoint_are_chosen(names: str, path: str, allow_pickle: bool, expected: str) -> None:
    assert chosen(names, path, allow_pickle=allow_pickle) == set(expected.split())


@pytest.mark.parametrize(
    ("names", "path", "allow_pickle", "why", "hint"),
    [
        ("config.json", "a", False, "", ""),
        ("config.json x.py", "", False, "it has no weights at all", ""),
        ("b.gguf a.gguf config.json x.bin", "", False, "it has a.gguf", "hf://a/b/a.gguf"),
        ("config.json pytorch_model.bin", "", False, "it has pytorch_model.bin", "--allow-pickle fetches"),
        ("config.json x.pth", "", True, "it has x.pth", "--allow-pickle fetches"),
        ("config.json x.pt", "", False, "it has x.pt", ""),
        ("config.json x.safetensors", "", False, "it has x.safetensors", ""),
        ("params.json consolidated.00.pth", "", False, "it has consolidated.00.pth", "--allow-pickle"),
        ("consolidated.00.pth", "", True, "it has consolidated.00.pth", "--allow-pickle"),
    ],
)
def test_a_repository_without_weights_says_what_it_has(
    names: str, path: str, allow_pickle: bool, why: str, hint: str
) -> None:
    with pytest.raises(CheckpointError) as caught:
        chosen(names, path, allow_pickle=allow_pickle)
    assert why in caught.value.why
    assert hint in caught.value.hint
    assert bool(hint) is bool(caught.value.hint)
    assert ("not in the repository" in str(caught.value)) is (path == "a")


@pytest.mark.parametrize(("name", "allow_pickle"), [("model.safetensors", False), ("pytorch_model.bin", True)])
def test_an_index_goes_before_a_single_file(tmp_path: Path, name: str, allow_pickle: bool) -> None:
    index = f"{name}.index.json"
    (tmp_path / index).write_text(json.dumps({"weight_map": {"a": "1.x", "b": "gone.x"}}))
    names = [f"sub/{base}" for base in (index, name, "1.x", "2.x")]
    found = choose("x", names, "sub", allow_pickle=allow_pickle, read=lambda path: tmp_path / path.removeprefix("sub/"))
    assert found == {f"sub/{index}", "sub/1.x"}


def test_companions_lie_in_the_folder_itself() -> None:
    assert companions(["a.json", "sub/b.json", "sub/deep/c.json", "sub/d.bin"], "sub") == {"sub/b.json"}


def test_the_folders_of_sentence_transformers_are_fetched_along() -> None:
    names = (
        "config.json model.safetensors modules.json 1_Pooling/config.json 2_Dense/model.safetensors onnx/config.json"
    )
    found = choose("hf://a/b", names.split(), "", allow_pickle=False, read=Path)
    assert found == {*names.split()} - {"onnx/config.json"}
    others = [name for name in names.split() if name != "modules.json"]
    assert choose("hf://a/b", others, "", allow_pickle=False, read=Path) == {"config.json", "model.safetensors"}
