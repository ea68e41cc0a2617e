from __future__ import annotations

import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.files.make import read_or_refused
from zoo.errors import CheckpointError, MissingExtra
from zoo.files.checkpoint import open_checkpoint
from zoo.files.gguf_file import GGUFReader, read_gguf_header, read_gguf_metadata

gguf = pytest.importorskip("gguf", reason="the extra gguf is not installed")
Q = gguf.GGMLQuantizationType
VALUES = np.random.default_rng(0).standard_normal((3, 256)).astype(np.float32)
KINDS = [Q.Q4_0, Q.Q4_1, Q.Q5_0, Q.Q5_1, Q.Q8_0, Q.TQ1_0, Q.TQ2_0, Q.MXFP4, Q.BF16]  # those that the package can write


def written(path: Path, **metadata: Any) -> Path:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_uint32("llama.block_count", 2)
    writer.add_float32("llama.eps", 1e-5)
    writer.add_bool("llama.flag", True)
    writer.add_array("llama.sizes", [1, 2, 3])
    writer.add_string("general.name", "héé")
    writer.add_array("tokenizer.ggml.tokens", ["a", "é", "", "b" * 300])
    writer.add_array("tokenizer.ggml.scores", [0.5, -1.0])
    writer.add_uint32("tokenizer.ggml.bos_token_id", 1)
    for key, (add, value) in metadata.items():
        getattr(writer, add)(key.replace("__", "."), value)
    writer.add_tensor("f32", VALUES)
    writer.add_tensor("f16", VALUES.astype(np.float16))
    writer.add_tensor("vector", VALUES[0, :5])
    writer.add_tensor("cube", VALUES[:, :24].reshape(3, 4, 6))
    for kind in KINDS:
        writer.add_tensor(kind.name, gguf.quantize(VALUES, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("gguf") / "x.gguf")


def test_the_header_agrees_with_the_package(good: Path) -> None:
    reference = gguf.GGUFReader(good)
    infos = read_gguf_header(good).tensors
    assert list(infos) == [tensor.name for tensor in reference.tensors]
    for tensor in reference.tensors:
        info = infos[tensor.name]
        assert info.shape == tuple(reversed(tensor.shape.tolist()))
        assert (info.offset, info.nbytes) == (tensor.data_offset, tensor.n_bytes)
    full = read_gguf_metadata(good)
    assert full == {k: f.contents() for k, f in reference.fields.items() if not k.startswith("GGUF.")}


def test_the_config_leaves_vocabularies_out_and_metadata_has_them(good: Path) -> None:
    checkpoint = open_checkpoint(good)
    assert checkpoint.dialect == "gguf"
    assert checkpoint.config["llama.sizes"] == [1, 2, 3]
    assert checkpoint.config["tokenizer.ggml.bos_token_id"] == 1
    assert "tokenizer.ggml.tokens" not in checkpoint.config
    assert checkpoint.metadata()["tokenizer.ggml.tokens"] == ["a", "é", "", "b" * 300]


def test_tensors_are_what_the_package_makes_of_them(good: Path) -> None:
    with open_checkpoint(good).open() as tensors:
        assert torch.equal(tensors["f32"], torch.from_numpy(VALUES))
        assert torch.equal(tensors["f16"], torch.from_numpy(VALUES.astype(np.float16)))
        assert torch.equal(tensors["cube"], torch.from_numpy(VALUES[:, :24].reshape(3, 4, 6)))
        assert tensors["BF16"].dtype == torch.bfloat16
        for kind in KINDS:
            expected = gguf.dequantize(gguf.quantize(VALUES, kind), kind)
            assert torch.equal(tensors[kind.name].float(), torch.from_numpy(expected))
            assert tensors[kind.name].is_contiguous()


def test_the_dtype_is_torchs_or_the_name_of_the_quantisation(good: Path) -> None:
    infos = open_checkpoint(good).tensors
    assert [infos[n].dtype for n in ("f32", "f16", "BF16", "Q4_1")] == ["float32", "float16", "bfloat16", "Q4_1"]


def test_writing_to_a_tensor_leaves_the_file_alone(good: Path) -> None:
    before = good.read_bytes()
    reader = GGUFReader(read_gguf_header(good).tensors)
    tensor = reader("f32")
    reader.close()
    tensor.zero_()
    assert good.read_bytes() == before


def test_a_folder_of_one_gguf_file_is_that_file(good: Path, tmp_path: Path) -> None:
    (tmp_path / "x.gguf").symlink_to(good)
    assert open_checkpoint(tmp_path).files == (tmp_path / "x.gguf",)
    (tmp_path / "y.gguf").symlink_to(good)
    with pytest.raises(CheckpointError, match="holds 2 GGUF files"):
        open_checkpoint(tmp_path)


def test_a_part_of_a_split_file_is_refused_with_advice(tmp_path: Path) -> None:
    path = written(tmp_path / "x.gguf", split__count=("add_uint16", 3))
    with pytest.raises(CheckpointError, match="the file is one part of several"):
        open_checkpoint(path)


def test_a_vocabulary_of_200_000_tokens_costs_little(tmp_path: Path) -> None:
    tokens = b"".join(struct.pack("<Q", 5) + b"token" for _ in range(200_000))
    key = b"tokenizer.ggml.tokens"
    head = b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, len(key)) + key + struct.pack("<IIQ", 9, 8, 200_000)
    (tmp_path / "x.gguf").write_bytes(head + tokens)
    start = time.process_time()
    assert read_gguf_header(tmp_path / "x.gguf").config == {}
    assert time.process_time() - start < 0.5  # 0.02 s here; the package takes 4 s


def header(*, magic: bytes = b"GGUF", version: int = 3, tensors: int = 0, keys: int = 0) -> bytes:
    return magic + struct.pack("<IQQ", version, tensors, keys)


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def tensor(name: str = "a", dims: tuple[int, ...] = (4,), kind: int = 0, offset: int = 0) -> bytes:
    sizes = b"".join(struct.pack("<Q", d) for d in dims)
    return text(name) + struct.pack("<I", len(dims)) + sizes + struct.pack("<IQ", kind, offset)


PAD = bytes(64)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"GGUF", "4 bytes, too few"),
        (header(magic=b"GGML") + PAD, "does not start with GGUF"),
        (header(version=1) + PAD, "has GGUF version 1"),
        (header(version=0x03000000) + PAD, "big-endian"),
        (header(tensors=1 << 60) + PAD, "claims 1,152,921,504,606,846,976 tensors"),
        (header(keys=1 << 63) + PAD, "claims 0 tensors and 9,223,372,036,854,775,808 keys"),
        (header(keys=1) + struct.pack("<Q", 1 << 62) + PAD, "a string of 4,611,686,018,427,387,904 bytes"),
        (header(keys=1) + struct.pack("<Q", 70) + PAD, "a string of 70 bytes, and the file ends"),
        (header(keys=1) + struct.pack("<Q", 1) + b"\xff" + PAD, "is not UTF-8"),
        (header(keys=1) + text("k") + struct.pack("<I", 13) + PAD, "k: its type 13"),
        (header(keys=1) + text("k") + struct.pack("<IIQ", 9, 9, 1) + PAD, "k: is an array of type 9"),
        (header(keys=1) + text("k") + struct.pack("<IIQ", 9, 8, 1 << 61) + PAD, "k: the header claims"),
        (header(keys=1) + text("k") + struct.pack("<IB", 7, 2) + PAD, "k: 2 is not a boolean"),
        (header(keys=1) + text("k") + struct.pack("<If", 6, float("nan")) + PAD, "k: nan is not a number"),
        (header(keys=2) + (text("k") + struct.pack("<IB", 0, 2)) * 2 + PAD, "k: occurs twice"),
        (header(tensors=2) + tensor() + tensor(offset=32) + PAD, "a: occurs twice"),
        (header(tensors=1) + tensor(dims=(1,) * 33) + PAD, "a: has 33 dimensions"),
        (header(tensors=1) + tensor(dims=(1 << 48,)) + PAD, "a: its shape has 281474976710656"),
        (header(tensors=1) + tensor(dims=(1 << 40,)) + PAD, "a: goes beyond the end of the file"),
        (header(tensors=1) + tensor(kind=99) + PAD, "a: its type 99"),
        (header(tensors=1) + tensor(kind=2) + PAD, "a: its rows [4] are not whole blocks of 32 in Q4_0"),
        (header(tensors=1) + tensor(offset=32) + PAD, "a: starts at byte"),
        (header(tensors=2) + tensor() + tensor("b") + PAD, "b: starts at byte"),
        (header(keys=1) + text("general.alignment") + struct.pack("<II", 4, 3) + PAD, "general.alignment: 3 is not"),
        (header(keys=1) + text("general.alignment") + struct.pack("<II", 4, 0) + PAD, "general.alignment: 0 is not"),
    ],
)
def test_broken_headers_are_refused_by_file_and_key(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(data)
    with pytest.raises(CheckpointError) as error:
        read_gguf_header(path)
    assert str(error.value).startswith(str(path))
    assert message in str(error.value)


SMALL = (
    header(tensors=2, keys=3)
    + (text("general.alignment") + struct.pack("<II", 4, 32))
    + (text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 2) + text("a") + text("bc"))
    + (text("x") + struct.pack("<IIQ", 9, 5, 2) + struct.pack("<ii", 1, -1))
    + tensor("a", (4, 2))
    + tensor("b", (32,), 2, 32)
)
SMALL += bytes(-len(SMALL) % 32) + bytes(64)


@pytest.mark.slow
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    edits=st.lists(st.tuples(st.integers(0, len(SMALL) - 1), st.integers(0, 255)), max_size=5),
    cut=st.integers(0, len(SMALL)),
    is_cut=st.booleans(),
)
def test_corrupted_files_are_read_or_refused_and_nothing_else(
    tmp_path: Path, edits: list[tuple[int, int]], cut: int, is_cut: bool
) -> None:
    data = bytearray(SMALL)
    for at, value in edits:
        data[at] = value
    path = tmp_path / "x.gguf"
    path.write_bytes(data[:cut] if is_cut else data)
    with read_or_refused(path):
        read_gguf_metadata(path)
        infos = read_gguf_header(path).tensors
        reader = GGUFReader(infos)
        for name, info in infos.items():
            assert tuple(reader(name).shape) == info.shape


def test_the_good_small_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(SMALL)
    assert read_gguf_header(tmp_path / "x.gguf").config == {"general.alignment": 32, "x": [1, -1]}
    assert read_gguf_metadata(tmp_path / "x.gguf")["tokenizer.ggml.tokens"] == ["a", "bc"]


@pytest.mark.parametrize("kind", [0, 2])
def test_an_empty_tensor_is_read(tmp_path: Path, kind: int) -> None:
    (tmp_path / "x.gguf").write_bytes(header(tensors=1) + tensor(dims=(32, 0), kind=kind) + PAD)
    with open_checkpoint(tmp_path / "x.gguf").open() as tensors:
        assert tensors["a"].shape == (0, 32)
        assert tensors["a"].dtype == torch.float32


def test_without_the_package_the_extra_is_named(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(MissingExtra, match=r"pip install 'zoo-lm\[gguf\]'"):
        open_checkpoint(good)


def test_the_header_is_read_without_torch(good: Path) -> None:
    code = f"import sys, zoo.files.checkpoint as c; c.open_checkpoint({str(good)!r}); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
