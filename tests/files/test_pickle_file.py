from __future__ import annotations

import io
import os
import pickle
import shutil
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.files import make
from zoo.errors import CheckpointError
from zoo.files.checkpoint import open_checkpoint
from zoo.files.pickle_file import PickleReader, read_pickle_header
from zoo.files.restricted_pickle import read_state


def saved(path: Path, state: Any, **options: Any) -> Path:
    torch.save(state, path, **options)
    return path


def repacked(path: Path, change: Any) -> Path:
    """`path` with its records as `change` returns them: {name: (bytes, compression)}."""
    with zipfile.ZipFile(path) as archive:
        records = {info.filename: (archive.read(info), zipfile.ZIP_STORED) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, (data, kind) in change(records).items():
            archive.writestr(name, data, compress_type=kind)
    return path


def with_pickle(path: Path, data: bytes) -> Path:
    saved(path, {"a": torch.ones(2)})
    return repacked(path, lambda r: {n: (data, k) if n.endswith("data.pkl") else (d, k) for n, (d, k) in r.items()})


class Evil:
    def __reduce__(self) -> Any:
        return os.mkdir, ("ran",)


STATE = {
    **make.tensors(),
    "part": torch.arange(12.0)[4:8],
    "transposed": torch.arange(6.0).reshape(2, 3).T,
    "parameter": torch.nn.Parameter(torch.ones(2)),
    "fp8": torch.ones(3).to(torch.float8_e4m3fn),
    "uint16": torch.ones(3).to(torch.uint16),
}


def test_names_types_and_shapes_are_torchs(tmp_path: Path) -> None:
    state = OrderedDict(STATE)
    state._metadata = {"": {"version": 1}}  # type: ignore[attr-defined]  # as nn.Module.state_dict leaves it
    infos = read_pickle_header(saved(tmp_path / "x.bin", state))
    reader = PickleReader(infos)
    assert list(infos) == list(STATE)
    for name, tensor in STATE.items():
        assert (infos[name].dtype, infos[name].shape) == (str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape))
        assert make.bits(reader(name)) == make.bits(tensor)
        assert not reader(name).requires_grad


def test_offsets_lead_to_the_bytes_of_tensors_that_lie_in_one_run(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.bin", STATE)
    infos = read_pickle_header(path)
    assert infos["transposed"].offset is None
    for name in ("model.embed.weight", "part", "fp8"):
        begin = infos[name].offset
        assert begin is not None
        data = path.read_bytes()[begin : begin + infos[name].nbytes]
        assert data == make.bits(STATE[name])


def test_tensors_are_mapped_and_writing_to_them_leaves_the_file_alone(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.bin", {"a": torch.ones(4)})
    before = path.read_bytes()
    PickleReader(read_pickle_header(path))("a").zero_()
    assert path.read_bytes() == before


def test_a_pickle_is_not_opened_without_consent(tmp_path: Path) -> None:
    make.folder(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(CheckpointError, match="--allow-pickle") as error:
        open_checkpoint(tmp_path)
    assert "pytorch_model.bin" in str(error.value)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("is_zip", [True, False])
def test_code_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: int, is_zip: bool) -> None:
    monkeypatch.chdir(tmp_path)
    data = pickle.dumps({"a": Evil()}, protocol)
    path = tmp_path / "x.bin"
    if is_zip:
        with_pickle(path, data)
    else:
        path.write_bytes(data)
    with pytest.raises(CheckpointError):
        read_pickle_header(path)
    assert not Path("ran").exists()


def test_what_needs_code_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"needs code \(posix.mkdir\)"):
        read_pickle_header(saved(tmp_path / "x.bin", {"a": Evil()}))


def test_a_file_of_another_format_is_refused_with_advice(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(CheckpointError, match="save the weights as safetensors"):
        read_pickle_header(tmp_path / "x.bin")


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (torch.ones(2), "holds a StoredTensor, not a state dict"),
        ({"step": 3}, "step: is a int, not a tensor"),
        ({3: torch.ones(2)}, "3: is a StoredTensor"),
        ([1, 2], "holds a list, not a state dict"),
    ],
)
def test_what_is_not_a_plain_state_dict_is_refused(tmp_path: Path, state: Any, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        read_pickle_header(saved(tmp_path / "x.bin", state))


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("kept", [torch._neg_view(torch.ones(3)), torch.ones(3, dtype=torch.complex64).conj()])
def test_a_tensor_that_torch_changes_as_it_reads_it_is_refused(
    tmp_path: Path, kept: torch.Tensor, is_zip: bool
) -> None:
    """What lies in the file is then not the tensor: of a negated view its opposite."""
    torch.save({"w": kept}, tmp_path / "x.bin", _use_new_zipfile_serialization=is_zip)
    with pytest.raises(CheckpointError, match=r"that torch changes as it reads it: {'(neg|conj)': True}"):
        read_pickle_header(tmp_path / "x.bin")


def test_a_compressed_record_is_refused_unread(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.bin", {"a": torch.zeros(1000)})
    repacked(path, lambda r: {n: (d, zipfile.ZIP_DEFLATED) for n, (d, _) in r.items()})
    with pytest.raises(CheckpointError, match="is compressed"):
        read_pickle_header(path)


def test_a_tensor_beyond_its_storage_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.bin", {"a": torch.zeros(1000)})
    repacked(path, lambda r: {n: (d[:100] if "/data/" in n else d, k) for n, (d, k) in r.items()})
    with pytest.raises(CheckpointError, match=r"a: float32 \[1000\] goes beyond its storage of 100 bytes"):
        read_pickle_header(path)


def test_a_few_bytes_that_would_become_many_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.bin", {"a": torch.zeros(1).expand(1 << 40)})
    with pytest.raises(CheckpointError, match="goes beyond its storage of 4 bytes"):
        read_pickle_header(path)


def test_a_missing_storage_and_a_foreign_byte_order_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.bin", {"a": torch.zeros(3)})
    shutil.copy(path, tmp_path / "y.bin")
    repacked(path, lambda r: {n: v for n, v in r.items() if "/data/" not in n})
    with pytest.raises(CheckpointError, match="a: its storage 0 is not in the file"):
        read_pickle_header(path)
    swap = lambda r: {n: (b"big" if n.endswith("byteorder") else d, k) for n, (d, k) in r.items()}  # noqa: E731
    with pytest.raises(CheckpointError, match="byteorder: is not little"):
        read_pickle_header(repacked(tmp_path / "y.bin", swap))


MEMO_BOMB = b"\x80\x02Nr\xff\xff\xff\xff."  # LONG_BINPUT 4294967295: 64 GB in the unpickler written in C
HASH_BOMB = b"\x80\x02}K\x00\x85" + b"".join(b"q%ch%c\x86" % (i, i) for i in range(60)) + b"K\x01s."
HUGE_STRING = b"\x80\x02X\xff\xff\xff\x7fabc."
DUPLICATE = b"\x80\x02}(X\x01\x00\x00\x00aK\x01X\x01\x00\x00\x00aK\x02u."


@pytest.mark.parametrize(
    "data", [MEMO_BOMB, HASH_BOMB, HUGE_STRING, DUPLICATE, b"", b".", b"\x80\x02N", b"\x80\x02(((("]
)
def test_pickles_made_to_cost_much_cost_nothing(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(CheckpointError):
        read_pickle_header(with_pickle(tmp_path / "x.bin", data))


def test_the_parts_of_metas_format_are_told_apart_by_number(tmp_path: Path) -> None:
    (tmp_path / "params.json").write_text('{"dim": 4}')
    for number in range(2):
        saved(tmp_path / f"consolidated.{number:02}.pth", {"wq.weight": torch.full((2,), float(number))})
    checkpoint = open_checkpoint(tmp_path, allow_pickle=True)
    assert (checkpoint.dialect, checkpoint.config) == ("meta", {"dim": 4})
    with checkpoint.open() as tensors:
        assert {n: t.tolist() for n, t in tensors.items()} == {"wq.weight#00": [0, 0], "wq.weight#01": [1, 1]}
    with pytest.raises(CheckpointError, match="--allow-pickle"):
        open_checkpoint(tmp_path)
    (tmp_path / "consolidated.00.pth").unlink()
    with pytest.raises(CheckpointError, match=r"consolidated.00.pth: is missing"):
        open_checkpoint(tmp_path, allow_pickle=True)


def test_sharded_pickles_are_read_by_their_index(tmp_path: Path) -> None:
    make.folder(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    saved(tmp_path / "pytorch_model-1.bin", {"a": torch.ones(2)})
    saved(tmp_path / "pytorch_model-2.bin", {"b": torch.zeros(2)})
    index = '{"weight_map": {"a": "pytorch_model-1.bin", "b": "pytorch_model-2.bin"}}'
    (tmp_path / "pytorch_model.bin.index.json").write_text(index)
    with open_checkpoint(tmp_path, allow_pickle=True).open() as tensors:
        assert {n: t.tolist() for n, t in tensors.items()} == {"a": [1, 1], "b": [0, 0]}


def good_archive() -> bytes:
    file = io.BytesIO()
    torch.save({"a": torch.ones(2), "b": torch.zeros(3).half()}, file)
    return file.getvalue()


GOOD = good_archive()


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    edits=st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), max_size=6), cut=st.integers(0, 40)
)
def test_corrupted_archives_are_read_or_refused_and_nothing_else(
    tmp_path: Path, edits: list[tuple[int, int]], cut: int
) -> None:
    data = bytearray(GOOD)
    for at, value in edits:
        data[at] = value
    path = tmp_path / "x.bin"
    path.write_bytes(data[: len(data) - cut if cut > 20 else None])
    with make.read_or_refused(path):
        read_pickle_header(path)


OPCODES = [
    *(b"(", b")", b"}", b"]", b"R", b"b", b"u", b"s", b"t", b"a", b"e", b"0", b"2", b"1", b"Q", b"N", b"\x85", b"\x86"),
    *(b"q\x00", b"h\x00", b"K\x01", b"X\x01\x00\x00\x00a", b"X\x07\x00\x00\x00storage"),
    *(b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch._utils\n_rebuild_parameter\n", b"ccollections\nOrderedDict\n"),
    *(b"ctorch\nFloatStorage\n", b"ctorch\nfloat32\n", b"cos\nsystem\n"),
]


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.lists(st.sampled_from(OPCODES), max_size=14))
def test_any_sequence_of_opcodes_is_read_or_refused(tmp_path: Path, data: list[bytes]) -> None:
    with make.read_or_refused(tmp_path):
        read_state(b"\x80\x02" + b"".join(data) + b".", tmp_path)
