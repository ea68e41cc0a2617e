"""What zoo.json and the index of shards list of a folder, and the sizes that files are cut to."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zoo.errors import ZooError
from zoo.files import (
    shards,
)
from zoo.files.manifest import MANIFEST, listed_files, manifest_text, verify_folder
from zoo.files.regular import sha256_of, size_of
from zoo.files.safetensors_writer import Digest
from zoo.files.shards import bytes_of, cut, index_of, read_index, wrong_size
from zoo.files.tensor_info import TensorInfo

FILE = Path("x.bin")


def refused(told: str, work: Callable[..., Any], *args: Any, **options: Any) -> None:
    with pytest.raises(ZooError, match=told):
        work(*args, **options)


def manifest(folder: Path, content: Any) -> Path:
    (folder / MANIFEST).write_text(json.dumps(content))
    return folder


def test_what_zoo_wrote_says_so_and_lists_its_files(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text(manifest_text({"b": Digest("x", 1), "a": Digest("y", 2)}, {"from": "é"}))
    assert list(listed_files(tmp_path).items()) == [("a", Digest("y", 2)), ("b", Digest("x", 1))]
    assert "é" in (tmp_path / MANIFEST).read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="JSON"):
        manifest_text({}, {"x": float("nan")})
    good = {"sha256": "x", "size": 1}
    for wrong, told in (
        ({"files": {"a": good}}, "zoo.json: "),
        ({"zoo": "1", "files": []}, "zoo.json: "),
        ({"zoo": "1"}, "zoo.json: "),
        ({"zoo": "1", "files": {"a": 5}}, "files.a: has no sha256 and size"),
        ({"zoo": "1", "files": {"a": good | {"size": True}}}, "files.a"),
        ({"zoo": "1", "files": {"a": good | {"sha256": 5}}}, "files.a"),
        ({"zoo": "1", "files": {"../a": good}}, "'../a'"),
    ):
        refused(told, listed_files, manifest(tmp_path, wrong))


def test_a_folder_is_held_against_its_list(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_text("x" * (1 + "ab".index(name)))
    digests = {name: Digest(sha256_of(tmp_path / name), size_of(tmp_path / name)) for name in "ab"}
    (tmp_path / MANIFEST).write_text(manifest_text(digests, {}))
    assert verify_folder(tmp_path) == 2
    (tmp_path / "b").write_text("xy")
    assert verify_folder(tmp_path, free=lambda name: name == "b") == 1
    refused("b: is not the file", verify_folder, tmp_path)
    (tmp_path / "b").write_text("xyz")
    refused("b: has 3 bytes, zoo.json says 2", verify_folder, tmp_path)


def test_files_are_cut_at_a_size() -> None:
    def sizes(limit: int, *numel: int) -> list[list[int]]:
        specs = {str(i): ("float16", (n,)) for i, n in enumerate(numel)}
        return [[bytes_of(spec) for spec in shard.values()] for shard in cut(specs, limit).values()]

    assert sizes(10, 3, 2, 1) == [[6, 4], [2]]
    assert sizes(12, 3, 2, 1) == [[6, 4, 2]]
    assert sizes(10, 5, 6, 1, 4) == [[12], [10], [2, 8]]  # what is larger goes alone, and ahead
    assert sizes(10) == [[]]
    names = [*cut({"a": ("int8", (2,)), "b": ("int8", (2,))}, 2)]
    assert names == ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    assert [*cut({"a": ("int8", (3,))}, 2)] == ["model.safetensors"]
    refused("no dtype 'odd'", bytes_of, ("odd", ()))
    both = {"f": {"b": ("int8", (3,))}, "g": {"a": ("float32", (2, 2))}}
    assert index_of(both) == {"metadata": {"total_size": 19}, "weight_map": {"a": "g", "b": "f"}}
    assert list(index_of(both)["weight_map"]) == ["a", "b"]


@pytest.mark.parametrize(
    ("metadata", "says"),
    [({"total_size": 6}, False), ({}, False), (None, False), ([], False), ({"total_size": None}, False),
     ({"total_size": 7}, True), ({"total_size": "6"}, True), ({"total_size": 0}, True)],
)  # fmt: skip
def test_a_size_that_an_index_tells_wrongly_is_told(tmp_path: Path, metadata: Any, says: bool) -> None:
    (tmp_path / "i.json").write_text(json.dumps({"metadata": metadata}))
    infos = {"a": TensorInfo("a", "int8", (2,), FILE, 2, 0), "b": TensorInfo("b", "int32", (1,), FILE, 4, 2)}
    notes = wrong_size(tmp_path / "i.json", infos)
    assert bool(notes) is says
    assert not notes or "its tensors take 6 bytes" in notes[0]


def test_an_index_has_tensors_and_plain_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = tmp_path / "i.json"
    monkeypatch.setattr(shards, "MAX_TENSORS", 1)
    for table, told in (
        ({}, "weight_map"),
        ([], "weight_map"),
        ({"a": "../x"}, "a: "),
        (dict.fromkeys("abc", "f"), "1 values"),
    ):
        index.write_text(json.dumps({"weight_map": table}))
        refused(told, read_index, index)
    index.write_text(json.dumps({"weight_map": {"a": "f", "b": "f"}}))
    assert read_index(index) == {"a": "f", "b": "f"}
