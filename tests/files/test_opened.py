"""What a folder or a file of weights is taken for, and what its parts are read with."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.files import make
from zoo.errors import CheckpointError, UsageError, ZooError
from zoo.files.checkpoint import open_checkpoint
from zoo.files.manifest import MANIFEST
from zoo.files.restricted_pickle import StoredTensor, read_state
from zoo.files.write import check_target, copy_folder, write_folder

FILE = Path("x.bin")
ONE = {"a": torch.tensor([1.0, 2.0])}


def refused(told: str, work: Any, *args: Any, **options: Any) -> None:
    with pytest.raises(ZooError, match=told):
        work(*args, **options)


def test_a_folder_or_one_of_its_files_is_a_checkpoint(tmp_path: Path) -> None:
    folder = make.folder(tmp_path / "f", ONE)
    for path in (folder, folder / "model.safetensors"):
        found = open_checkpoint(path)
        assert (found.path, found.folder, found.dialect, found.config_name) == (path, folder, "hf", "config.json")
        assert (found.config_file, found.files) == (folder / "config.json", (folder / "model.safetensors",))
        assert found.metadata() is found.config
        assert bytes(found.raw_bytes("a")) == make.bits(ONE["a"])
        assert set(found.hashes()) == {"config.json", "model.safetensors"}
        assert "_open" not in repr(found)
    assert open_checkpoint(make.folder(tmp_path / "z", ONE, {"zoo": 1})).dialect == "zoo"


def test_bytes_are_those_of_the_file_or_none(tmp_path: Path) -> None:
    folder = make.folder(tmp_path / "f", {"e": torch.zeros(0, 2), **ONE})
    found = open_checkpoint(folder)
    assert bytes(found.raw_bytes("e")) == b""
    (folder / "model.safetensors").unlink()
    refused("model.safetensors: cannot be read", found.raw_bytes, "a")
    scaled = {"w": torch.ones(2, 2).to(torch.float8_e4m3fn), "w_scale_inv": torch.ones(1, 1)}
    config = make.CONFIG | {"quantization_config": {"quant_method": "fp8"}}
    shown = open_checkpoint(make.folder(tmp_path / "q", scaled, config))
    refused("w: ", shown.raw_bytes, "w")
    with shown.open() as tensors:
        assert torch.equal(tensors["w"], torch.ones(2, 2).bfloat16())


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ("config.json", "has no weights"),
        ("config.json x.h5 y.txt", "it has config.json, x.h5"),
        ("x.txt", "has no config.json\nlooked for"),
        ("x.onnx", "has no config.json\nit has x.onnx"),
        ("a.gguf b.gguf", "holds 2 GGUF files and no config.json"),
        ("params.json", "has no config.json\nit has params.json"),
        ("params.json consolidated.00.pth", "consolidated.00.pth: is a pickle"),
        ("consolidated.00.pth", "has no config.json\nit has consolidated.00.pth"),
        ("config.json pytorch_model.bin", "pytorch_model.bin: is a pickle"),
        ("config.json pytorch_model.bin.index.json", "index.json: is a pickle"),
        ("config.json consolidated.00.pth params.json", "has no weights"),
    ],
)
def test_a_folder_of_something_else_says_what_it_has(tmp_path: Path, names: str, told: str) -> None:
    for name in names.split():
        (tmp_path / name).write_text("{}")
    refused(told, open_checkpoint, tmp_path)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("x.txt", "is not the name of a checkpoint"),
        ("gone.txt", "is not there"),
        ("consolidated.01.pth", "is one of the parts"),
        ("x.bin", "is a pickle"),
        ("x.bin.index.json", "is a pickle"),
        ("gone.safetensors", "is not there"),
        ("x.json", "is not the name of a checkpoint"),
    ],
)
def test_a_file_is_taken_by_its_name(tmp_path: Path, name: str, told: str) -> None:
    if not name.startswith("gone"):
        (tmp_path / name).write_text("{}")
    refused(told, open_checkpoint, tmp_path / name)


@pytest.mark.parametrize(("single", "is_pickle"), [("model.safetensors", False), ("pytorch_model.bin", True)])
def test_an_index_that_names_the_single_file_is_no_second_checkpoint(
    tmp_path: Path, single: str, is_pickle: bool
) -> None:
    folder = make.folder(tmp_path, ONE)
    if is_pickle:
        torch.save(ONE, folder / single)
        (folder / "model.safetensors").unlink()
    index = folder / f"{single}.index.json"
    for total, notes in ((8, 0), (9, 1)):
        index.write_text(json.dumps({"metadata": {"total_size": total}, "weight_map": {"a": single}}))
        found = open_checkpoint(folder, allow_pickle=True)
        assert (list(found.tensors), len(found.notes)) == (["a"], notes)
        with found.open() as tensors:
            assert torch.equal(tensors["a"], ONE["a"])
    index.write_text(json.dumps({"weight_map": {"a": "other"}}))
    refused(f"holds two checkpoints, {single} and {single}.index.json", open_checkpoint, folder, allow_pickle=True)


# State dicts.


class Odd:
    """Pickles as what it is told."""

    def __init__(self, *reduced: Any) -> None:
        self.reduced = reduced

    def __reduce__(self) -> Any:
        return self.reduced


def test_what_is_no_state_dict_of_tensors_is_refused() -> None:
    for state, told in (
        ([1], "holds a list, not a state dict"),
        ({"a": 5}, "a: is a int, not a tensor"),
        ({"a": {}}, "a: is a dict"),
        ({5: 6}, "5: is a int"),
        ({"a": "x"}, "a: is a str"),
        ({(1,): 2}, "a table whose keys are not names"),
        (Odd(print, ("x",)), r"needs code \(__?builtin"),
        ({"a": 1.5}, "a: is a float"),
    ):
        refused(f"^x.bin: .*{told}", read_state, pickle.dumps(state, 2), FILE)
    for data in (b"", b"\x80\x02", b"\x80\x02}q\x00", b"\x80\x02}U\x01a.", b"\x80\x02(lp0\n."):
        with pytest.raises(CheckpointError):
            read_state(data, FILE)
    assert read_state(pickle.dumps({}, 2), FILE) == {}


A, MARK = b"X\x01\x00\x00\x00a", b"("
NAME = b"ctorch._utils\n_rebuild_tensor_v2\n"
STORAGE = b"(X\x07\x00\x00\x00storagectorch\nHalfStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x09tQ"
ARGUMENTS = STORAGE + b"K\x00K\x02\x85K\x01\x85\x89N"
TENSOR = NAME + MARK + ARGUMENTS + b"tR"
STORED = StoredTensor("0", "float16", 0, (2,), (1,))


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"}" + A + TENSOR + b"s.", {"a": STORED}),
        (b"}" + MARK + A + TENSOR + b"u.", {"a": STORED}),
        (b"ccollections\nOrderedDict\n)R" + A + TENSOR + b"s.", {"a": STORED}),
        (b"}" + A + TENSOR + b"s" + b"}b.", {"a": STORED}),  # attributes of the dict are passed over
        (b"}" + A + b"ctorch._utils\n_rebuild_parameter\n" + MARK + TENSOR + b"\x88NtRs.", {"a": STORED}),
        (b"]K\x01a0}.", None),  # POP is no opcode of torch.save
        (b"}" + MARK + A + b"u.", None),
        (b"}" + A + TENSOR + b"s" + A + TENSOR + b"s.", "a: .*twice"),
        (b"}" + MARK + A + TENSOR + A + TENSOR + b"u.", "a: .*twice"),
        (b"]K\x01s.", None),
        (b"}" + A + b"ctorch._utils\n_rebuild_parameter\n" + MARK + b"K\x01\x88NtRs.", "a parameter"),
        (b"}" + A + NAME + b"K\x01Rs.", "a call of something"),
        (b"}" + A + b"ctorch\nHalfStorage\n)Rs.", "a call of something"),
        (b"}" + A + b"K\x01)Rs.", "a call of something"),
        (b"}" + A + NAME + MARK + b"K\x01K\x00K\x02\x85K\x01\x85\x89NtRs.", None),
        (b"}" + A + b"(X\x05\x00\x00\x00otherctorch\nHalfStorage\nX\x01\x00\x00\x000tQs.", "not a storage"),
        (b"}" + A + b"(X\x07\x00\x00\x00storageK\x01X\x01\x00\x00\x000tQs.", "not a storage"),
        (b"}" + A + STORAGE + b"s.", "a: is a Storage"),
        (b"}K\x01a.", "not a list"),
        (b"}(K\x01e.", "not a list"),
        (b"](K\x01e.", "holds a list"),
        (b"]K\x01a.", "holds a list"),
    ],
)
def test_the_opcodes_of_torch_do_what_they_say_and_no_more(body: bytes, found: Any) -> None:
    if isinstance(found, dict):
        assert read_state(b"\x80\x02" + body, FILE) == found
    else:
        refused(found or "x.bin", read_state, b"\x80\x02" + body, FILE)


TYPED = b"ctorch._utils\n_rebuild_tensor_v3\n" + MARK
BYTES = b"(X\x07\x00\x00\x00storagectorch.storage\nUntypedStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x09tQ"


@pytest.mark.parametrize(("dtype", "is_read"), [("float8_e4m3fn", True), ("int64", True), ("FloatStorage", True)])
def test_a_storage_of_bytes_is_told_its_type_by_the_tensor(dtype: str, is_read: bool) -> None:
    body = b"}" + A + TYPED + BYTES + b"K\x00K\x02\x85K\x01\x85\x89N" + f"ctorch\n{dtype}\n".encode() + b"tRs."
    found = read_state(b"\x80\x02" + body, FILE)["a"]
    assert found == StoredTensor("0", {"FloatStorage": "float32"}.get(dtype, dtype), 0, (2,), (1,))
    plain = b"}" + A + NAME + MARK + BYTES + b"K\x00K\x02\x85K\x01\x85\x89NtRs."
    refused("torch.save does not write", read_state, b"\x80\x02" + plain, FILE)


@pytest.mark.filterwarnings("ignore:TypedStorage")
@pytest.mark.parametrize(
    ("storage", "dtype"),
    [
        ("Bool", "bool"), ("Byte", "uint8"), ("Char", "int8"), ("Short", "int16"), ("Int", "int32"), ("Long", "int64"),
        ("Half", "float16"), ("BFloat16", "bfloat16"), ("Float", "float32"), ("Double", "float64"),
        ("ComplexFloat", "complex64"),
    ],
)  # fmt: skip
def test_every_storage_has_the_type_that_torch_gives_it(storage: str, dtype: str) -> None:
    body = (b"}" + A + TENSOR + b"s.").replace(b"HalfStorage", f"{storage}Storage".encode())
    assert read_state(b"\x80\x02" + body, FILE)["a"].dtype == dtype
    assert str(getattr(torch, f"{storage}Storage").dtype) == f"torch.{dtype}"


# Where zoo writes.


def written(target: Path, **options: Any) -> Path:
    return write_folder(target, {"a": ("float32", (2,))}, ONE.items(), config={"x": 1}, **options)


def test_a_folder_has_what_was_given_and_a_list_of_it(tmp_path: Path) -> None:
    (tmp_path / "own").write_text("own")
    extra: dict[str, Any] = {"t.json": b"{}", "u": tmp_path / "own"}
    folder = written(tmp_path / "f", extra=extra, provenance={"from": "x"}, config_name="params.json")
    listed = json.loads((folder / MANIFEST).read_text())
    assert listed["provenance"] == {"from": "x"}
    assert set(listed["files"]) == {"model.safetensors", "params.json", "t.json", "u"}
    assert {p.name for p in folder.iterdir()} == {*listed["files"], MANIFEST}
    assert json.loads((folder / "params.json").read_text()) == {"x": 1}
    assert (folder / "u").read_text() == "own"
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    for name in ("model.safetensors", "config.json", MANIFEST, "model.safetensors.index.json"):
        with pytest.raises(UsageError, match="cannot be called"):
            written(tmp_path / "g", extra={name: b""})
    refused("names the file", written, tmp_path / "g", extra={"../x": b""})
    given = ({"a": ("float32", (2,))}, ONE.items())
    refused("NaN or infinity", write_folder, tmp_path / "g", *given, config={"x": float("nan")})
    assert not (tmp_path / "g").exists()
    two = {"a": ("float32", (2,)), "b": ("float32", (2,))}
    sharded = write_folder(tmp_path / "s", two, [("b", ONE["a"]), ("a", ONE["a"])], config={}, max_shard_size=8)
    assert "model.safetensors.index.json" in json.loads((sharded / MANIFEST).read_text())["files"]
    one = write_folder(tmp_path / "p", two, [("b#00", ONE["a"])], config={}, pickle_name="c.pth", max_shard_size=8)
    assert list(torch.load(one / "c.pth", weights_only=True)) == ["b"]
    refused("^c: ", write_folder, tmp_path / "g", two, [("c", ONE["a"])], config={})
    refused("model.safetensors: ", write_folder, tmp_path / "g", two, [("a", ONE["a"])], config={})


def test_only_a_folder_of_ours_is_replaced_and_only_by_force(tmp_path: Path) -> None:
    folder = written(tmp_path / "f")
    refused("--force", written, folder)
    written(folder, force=True, extra={"new": b""})
    assert (folder / "new").exists()
    (folder / "strange").mkdir()
    refused("zoo did not write.*: strange", written, folder, force=True)
    (folder / "strange").rmdir()
    (folder / "new").unlink()
    (folder / "new").mkdir()
    refused("zoo did not write.*: new", written, folder, force=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x").touch()
    refused("zoo did not write", written, tmp_path / "other", force=True)
    refused("is not a folder", written, tmp_path / "other" / "x", force=True)
    (tmp_path / "link").symlink_to("f")
    refused("is not a folder", written, tmp_path / "link", force=True)
    copied = copy_folder(tmp_path / "c", {"y": tmp_path / "other" / "x"}, provenance={"a": 1})
    assert json.loads((copied / MANIFEST).read_text())["provenance"] == {"a": 1}
    refused("--force", copy_folder, copied, {}, provenance={})
    copy_folder(copied, {}, provenance={}, force=True)
    assert [p.name for p in copied.iterdir()] == [MANIFEST]
    refused("names the file", copy_folder, tmp_path / "d", {"a/b": FILE}, provenance={})


def test_a_target_lies_apart_from_its_sources(tmp_path: Path) -> None:
    for target, source in ((tmp_path, tmp_path), (tmp_path / "a", tmp_path), (tmp_path / "b", tmp_path / "b" / "c")):
        check_target(tmp_path / "free", [], False)
        if target != tmp_path:
            refused("overlaps", check_target, target, [tmp_path / "x", source], False)
            check_target(target, [source], True)
    check_target(tmp_path / "a", [tmp_path / "ab"], False)
