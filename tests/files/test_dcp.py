"""Folders of torch.distributed.checkpoint: what torch writes is read, and whatever else is refused in one line."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from zoo.errors import CheckpointError
from zoo.files.checkpoint import open_checkpoint
from zoo.files.dcp.apart import check_apart
from zoo.files.dcp.folder import open_shards, read_folder
from zoo.files.dcp.metadata import read_metadata
from zoo.files.dcp.reader import Shard

pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled:UserWarning")


class Evil:
    def __reduce__(self) -> Any:
        return os.mkdir, ("ran",)


class OfNobody:
    pass


PICKLES = {
    "code": (pickle.dumps(Evil()), "mkdir, which is not of torch's metadata"),
    "a class of its own": (pickle.dumps(OfNobody()), "OfNobody, which is not of torch's metadata"),
    "code in a known module": (b"ctorch.serialization\nload\n.", "torch.serialization.load, which is not"),
    "an opcode of its own": (b"\x80\x04N\x85R.", "is not the metadata of torch.distributed.checkpoint"),
    "a known function, called as a class": (b"ctorch\nSize\n)\x81.", "an object of what is not a class of it"),
    "attributes of a number": (b"K\x01}b.", "attributes of what is not an object of it"),
    "a memo of 64 GB": (b"\x80\x04Nr\xff\xff\xff\xff.", "in the place of a Metadata"),
    "a table of lists": (b"}]Ns.", "a table whose keys are not names"),
    "nothing": (b"", "is not the metadata of torch.distributed.checkpoint"),
    "another thing": (pickle.dumps({"a": 1}), "in the place of a Metadata"),
    "cut off": (
        b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00}",
        "is not the metadata of torch.distributed.checkpoint",
    ),
}


@pytest.mark.parametrize("case", PICKLES)
def test_no_pickle_is_run_and_what_is_not_torchs_is_refused(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, words = PICKLES[case]
    (tmp_path / ".metadata").write_bytes(data)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError) as refused:
        read_metadata(tmp_path / ".metadata")
    assert words in str(refused.value)
    assert not (tmp_path / "ran").exists()


def test_shards_without_metadata_are_a_save_that_did_not_end(tmp_path: Path) -> None:
    (tmp_path / "__0_0.distcp").write_bytes(b"PK")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"has shards \(\*\.distcp\) and no \.metadata"):
        open_checkpoint(tmp_path)


STATE = {
    "matrix": torch.arange(12.0).reshape(4, 3),
    "half": torch.arange(6.0).to(torch.bfloat16),
    "turned": torch.arange(6.0).reshape(2, 3).T,
    "part": torch.arange(12.0)[4:8],
    "number": torch.tensor(3.0),
    "none": torch.empty(0, 3),
}


@pytest.fixture(scope="module")
def as_torch_writes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch.distributed.checkpoint as dcp

    folder = tmp_path_factory.mktemp("dcp") / "one"
    dcp.save({"model": STATE, "optimizer": {"state": {"matrix.exp_avg": torch.ones(4, 3)}, "lr": 0.1}, "step": 7},
             checkpoint_id=str(folder), no_dist=True)  # fmt: skip
    return folder


@pytest.mark.slow
def test_tensors_are_torchs_bit_for_bit_and_the_rest_is_told(as_torch_writes: Path) -> None:
    found = read_folder(as_torch_writes)
    assert found.told == (".metadata: the weights are those under 'model'; left out: optimizer, step",)
    with open_shards(found.tensors, found.shards) as tensors:
        assert list(tensors) == list(STATE)
        for name, tensor in STATE.items():
            assert torch.equal(tensors[name], tensor)
            assert tensors[name].dtype == tensor.dtype


@pytest.fixture
def sharded(as_torch_writes: Path, tmp_path: Path) -> Callable[..., Path]:
    """A copy whose metadata `change` has changed; `matrix` lies in two shards of two rows each."""
    from torch.distributed.checkpoint.filesystem import _StorageInfo
    from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, MetadataIndex

    folder = tmp_path / "dcp"
    shutil.copytree(as_torch_writes, folder)
    metadata = pickle.loads((folder / ".metadata").read_bytes())
    name, size = "model.matrix", torch.Size([2, 3])
    del metadata.storage_data[MetadataIndex(name, [0, 0])]
    metadata.state_dict_metadata[name].chunks = [ChunkStorageMetadata(torch.Size([at, 0]), size) for at in (0, 2)]
    for rank, at in enumerate((0, 2)):
        torch.save(STATE["matrix"][at : at + 2].clone(), folder / f"__{rank + 1}_0.distcp")
        length = (folder / f"__{rank + 1}_0.distcp").stat().st_size
        metadata.storage_data[MetadataIndex(name, [at, 0])] = _StorageInfo(f"__{rank + 1}_0.distcp", 0, length)

    def changed(change: Callable[[Any, Path], object]) -> Path:
        change(metadata, folder)
        (folder / ".metadata").write_bytes(pickle.dumps(metadata))
        return folder

    return changed


def read_all(folder: Path) -> dict[str, torch.Tensor]:
    found = read_folder(folder)
    with open_shards(found.tensors, found.shards) as tensors:
        return dict(tensors)


def place_of(metadata: Any, begin: tuple[int, int] = (2, 0)) -> Any:
    from torch.distributed.checkpoint.metadata import MetadataIndex

    return metadata.storage_data[MetadataIndex("model.matrix", begin)]


def matrix(metadata: Any) -> Any:
    return metadata.state_dict_metadata["model.matrix"]


@pytest.mark.slow
def test_a_tensor_is_put_together_of_its_shards(sharded: Callable[..., Path]) -> None:
    assert torch.equal(read_all(sharded(lambda metadata, folder: None))["matrix"], STATE["matrix"])


def cut_off(metadata: Any, folder: Path) -> None:
    file = folder / "__2_0.distcp"
    file.write_bytes(file.read_bytes()[:-10])


def code_in_a_shard(metadata: Any, folder: Path) -> None:
    torch.save({"a": torch.ones(99), "b": Evil()}, folder / "__2_0.distcp")
    vars(place_of(metadata)).update(length=(folder / "__2_0.distcp").stat().st_size)


def state_of(metadata: Any) -> Any:
    """The place of the optimizer's numbers."""
    return next(index for index in metadata.storage_data if "exp_avg" in index.fqn)


def as_if_half(metadata: Any, folder: Path) -> None:
    """Another tensor has the first shard of `matrix` and one of its own."""
    from torch.distributed.checkpoint.metadata import MetadataIndex

    places, name = metadata.storage_data, "model.other"
    metadata.state_dict_metadata[name] = matrix(metadata)
    metadata.planner_data[name] = ("model", "other")
    places[MetadataIndex(name, [0, 0])] = place_of(metadata, (0, 0))
    shutil.copy(folder / "__2_0.distcp", folder / "__3_0.distcp")
    places[MetadataIndex(name, [2, 0])] = type(place_of(metadata))("__3_0.distcp", 0, place_of(metadata).length)


def whole_of(tensor: Any) -> Any:
    return type(tensor.chunks[0])(torch.Size([0, 0]), torch.Size([4, 3]))


def whole_place(metadata: Any) -> Any:
    from torch.distributed.checkpoint.metadata import MetadataIndex

    return {MetadataIndex("model.matrix", [0, 0]): place_of(metadata, (0, 0))}


def two_archives(metadata: Any, folder: Path) -> None:
    """The place of a shard takes in another archive behind it, of the same type and shape."""
    file = folder / "__2_0.distcp"
    file.write_bytes(2 * file.read_bytes())
    vars(place_of(metadata)).update(length=file.stat().st_size)


FAULTS: dict[str, tuple[Callable[[Any, Path], object], str]] = {
    "a shard's file is missing": (
        lambda m, f: (f / "__2_0.distcp").unlink(), "the file is missing, but .metadata says that the shard at [2, 0]"),
    "a file that is cut off": (cut_off, "the shard at [2, 0] ends at byte"),
    "a shard in no file": (
        lambda m, f: m.storage_data.clear(), "is in no file"),
    "a shard too few": (lambda m, f: matrix(m).chunks.pop(), "its shards hold 6 of the 12 numbers of [4, 3]"),
    "shards that overlap": (
        lambda m, f: setattr(matrix(m).chunks[1], "offsets", torch.Size([1, 0])), "[0, 0] and [1, 0] overlap"),
    "a shard beyond the tensor": (
        lambda m, f: setattr(matrix(m).chunks[1], "offsets", torch.Size([3, 0])), "goes beyond the tensor [4, 3]"),
    "a shard of another rank": (
        lambda m, f: setattr(matrix(m).chunks[1], "sizes", torch.Size([6])), "in a tensor [4, 3]"),
    "too few bytes": (lambda m, f: vars(place_of(m)).update(length=20), "has 20 bytes, and float32 [2, 3] takes 24"),
    "bytes of another": (
        lambda m, f: vars(place_of(m)).update(relative_path="__1_0.distcp", offset=10, length=900),
        "its bytes from 10 on are those of matrix too"),
    "bytes of an optimizer's state": (
        lambda m, f: vars(place_of(m)).update(vars(m.storage_data[state_of(m)])), "are those of"),
    "one shard of two tensors": (as_if_half, "are those of"),
    "a place of no shard": (
        lambda m, f: setattr(matrix(m), "chunks", [whole_of(matrix(m))]) or m.storage_data.update(whole_place(m)),
        "a shard at [2, 0] has a place in a file, and the metadata knows of no such shard"),
    "a place that two archives lie in": (two_archives, "bytes before the archive that it ends with"),
    "another file of the disk": (
        lambda m, f: vars(place_of(m)).update(relative_path="../secret"), "names the file '../secret'"),
    "another type": (
        lambda m, f: setattr(matrix(m).properties, "dtype", torch.int32),
        "is float32 [2, 3] in the file, and int32 [2, 3] in the metadata"),
    "another shape": (
        lambda m, f: torch.save(torch.ones(3, 2), f / "__2_0.distcp"), "is float32 [3, 2] in the file"),
    "no archive": (
        lambda m, f: (f / "__2_0.distcp").write_bytes(bytes(2000)), "is neither a zip archive"),
    "code in a shard": (code_in_a_shard, "mkdir), not only tensors"),
    "packed shards": (
        lambda m, f: vars(place_of(m)).update(transform_descriptors=["stream.zstd"]), "packed by ['stream.zstd']"),
    "a type that zoo does not read": (
        lambda m, f: setattr(matrix(m).properties, "dtype", torch.complex128), "complex128"),
    "no weights": (
        lambda m, f: [m.state_dict_metadata.pop(n) for n in list(m.state_dict_metadata) if n.startswith("model")],
        "is a "),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("case", FAULTS)
def test_what_does_not_hold_together_is_refused_in_one_line(case: str, sharded: Callable[..., Path]) -> None:
    change, words = FAULTS[case]
    folder = sharded(change)
    with pytest.raises(CheckpointError) as refused:
        read_all(folder)
    assert words in str(refused.value).splitlines()[0]


def test_a_state_that_lies_over_a_weight_is_found_behind_one_that_does_not() -> None:
    weight = Shard(Path("a.distcp"), 10, 10, "float32", (0,), (2,))
    others = [(weight.file, 0, 1000, "optim.a"), (weight.file, 5, 6, "optim.b")]
    with pytest.raises(CheckpointError, match="its bytes from 10 on are those of optim"):
        check_apart({"w": (weight,)}, others)
    check_apart({"w": (weight,), "tied": (weight,)}, [(weight.file, 0, 10, "optim.a"), (weight.file, 0, 5, "optim.b")])
