"""Files that PyTorch wrote before 1.6: read without running them, a tensor at a time, and refused where not whole."""

from __future__ import annotations

import os
import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.files import make
from zoo.errors import CheckpointError
from zoo.files.legacy_pickle import START, is_legacy, read_legacy
from zoo.files.pickle_file import PickleReader, read_pickle_header

STATE = OrderedDict({
    **make.tensors(),
    "part": torch.arange(12.0)[4:8],
    "transposed": torch.arange(6.0).reshape(2, 3).T,
    "parameter": torch.nn.Parameter(torch.ones(2)),
    "fp8": torch.ones(3).to(torch.float8_e4m3fn),
    "none": torch.empty(0, 3),
    "one": torch.tensor(2.5),
})  # fmt: skip


class Evil:
    def __reduce__(self) -> Any:
        return os.mkdir, ("ran",)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return saved(tmp_path / "x.bin", STATE)


def saved(path: Path, state: Any) -> Path:
    torch.save(state, path, _use_new_zipfile_serialization=False)
    return path


def test_every_tensor_is_torchs_bit_for_bit(file: Path) -> None:
    assert is_legacy(file)
    infos = read_pickle_header(file)
    reader = PickleReader(infos)
    assert list(infos) == list(STATE)
    for name, tensor in STATE.items():
        found, before = reader(name), make.bits(tensor.detach())
        assert (infos[name].dtype, infos[name].shape) == (str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape))
        assert (found.dtype, make.bits(found)) == (tensor.dtype, before)
        found.zero_()
        assert make.bits(reader(name)) == before  # the file is as it was


def test_offsets_lead_to_the_bytes(file: Path) -> None:
    for name, info in read_pickle_header(file).items():
        if info.offset is not None:
            assert file.read_bytes()[info.offset :][: info.nbytes] == make.bits(STATE[name].detach())
    assert read_pickle_header(file)["transposed"].offset is None


def test_only_the_tensor_that_is_asked_for_is_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "load", None)
    sizes: list[int] = []

    def counted(size: bytes | int) -> bytearray:
        sizes.append(int(size) if isinstance(size, int) else len(size))
        return bytearray(size)

    monkeypatch.setattr("zoo.files.legacy_pickle.bytearray", counted, raising=False)
    reader = PickleReader(read_pickle_header(file))
    reader("part")
    assert sizes == [16]


def test_a_file_that_is_cut_off_anywhere_is_refused(file: Path, tmp_path: Path) -> None:
    data = file.read_bytes()
    short = tmp_path / "short.bin"
    for length in (*range(0, 400, 7), *range(400, len(data), 61), len(data) - 1):
        short.write_bytes(data[:length])
        with pytest.raises(CheckpointError):
            read_pickle_header(short)


def test_code_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=r"needs code \(posix.mkdir\)"):
        read_pickle_header(saved(tmp_path / "x.bin", {"a": Evil()}))
    parts = [START, *(pickle.dumps(value, 2) for value in (1001, {"little_endian": True}, {}, []))]
    for place in range(1, 5):
        hostile = [*parts[:place], pickle.dumps(Evil(), 2), *parts[place + 1 :]]
        (tmp_path / "y.bin").write_bytes(b"".join(hostile))
        with pytest.raises(CheckpointError, match="needs code"):
            read_pickle_header(tmp_path / "y.bin")
    assert not (tmp_path / "ran").exists()


def head(*, protocol: Any = 1001, system: Any = None) -> bytes:
    system = {"little_endian": True} if system is None else system
    return START + pickle.dumps(protocol, 2) + pickle.dumps(system, 2)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (head(protocol=1002), "is not a checkpoint in PyTorch's format"),
        (head(system={"little_endian": False}), "is not little-endian"),
        (head(system=[1]), "is not a checkpoint in PyTorch's format"),
        (head() + pickle.dumps({}, 2) + pickle.dumps(3, 2), "does not list its storages"),
        (head() + pickle.dumps({}, 2) + pickle.dumps(["0"], 2), "is not one that the state dict names once"),
        (head() + pickle.dumps([], 2) + pickle.dumps([], 2), "holds a list"),
    ],
)
def test_other_heads_are_refused(data: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(data)
    with pytest.raises(CheckpointError, match=told):
        read_pickle_header(tmp_path / "x.bin")


def test_a_storage_of_another_size_than_the_state_dict_says_is_refused(tmp_path: Path) -> None:
    file = saved(tmp_path / "x.bin", {"a": torch.ones(5)})
    data = file.read_bytes()
    ((begin, nbytes),) = read_legacy(file).places.values()
    assert data[begin - 8 : begin] == struct.pack("<q", 5)
    for count in (4, 6, -1, 1 << 62):
        file.write_bytes(data[: begin - 8] + struct.pack("<q", count) + data[begin:])
        with pytest.raises(CheckpointError, match="elements, but the state dict says 5"):
            read_pickle_header(file)
    assert nbytes == 20


def test_a_file_that_shrinks_while_it_is_open_is_refused(file: Path) -> None:
    reader = PickleReader(read_pickle_header(file))
    reader("part")
    info = read_pickle_header(file)["part"]
    assert info.offset is not None
    os.truncate(file, info.offset + 3)
    with pytest.raises(CheckpointError, match="changed since its names were read"):
        reader("part")
