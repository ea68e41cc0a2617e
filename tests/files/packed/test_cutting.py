"""A part of a packed matrix is a packed matrix: its numbers are those rows and columns of the whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.files.packed import by_hand, tiny
from zoo.files.checkpoint import open_checkpoint
from zoo.files.packed import PackedMatrix
from zoo.files.packed.cutting import COLUMNS, ROWS, border, can_cut, cut, of_stack
from zoo.files.packed.fp8 import scaled_floats
from zoo.files.packed.gguf_blocks import blocks_of
from zoo.files.packed.parts import PartsOfFile
from zoo.files.packed.record import Encoding
from zoo.files.packed.view import parts_of
from zoo.files.tensor_info import TensorInfo

GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 16}
AWQ = {"quant_method": "awq", "bits": 4, "group_size": 16}
FP8 = {"quant_method": "fp8"}
INT4 = {"type": "int", "num_bits": 4, "strategy": "group", "group_size": 32}
# What packs, what the config says, and every how many rows and columns a part of DOWN [64, 96] can end.
CASES = {
    "gptq": (by_hand.gptq(4, 16, index=False), GPTQ, (8, 16)),
    "gptq with a list": (by_hand.gptq(4, 16), GPTQ, (8, 8)),
    "gptq of 3 bits": (by_hand.gptq(3, 32), GPTQ | {"bits": 3, "group_size": 32}, (32, 32)),
    "gptq of rows": (by_hand.gptq(8, -1), GPTQ | {"bits": 8, "group_size": -1}, (4, 4)),
    "gptq by activation": (by_hand.gptq(4, 16, ordered=True), GPTQ | {"desc_act": True}, (8, 8)),
    "awq": (by_hand.awq(16), AWQ, (8, 16)),
    "nvfp4": (by_hand.nvfp4, {"quant_method": "modelopt", "quant_algo": "NVFP4"}, (1, 16)),
    "fp8 of tensors": (by_hand.scaled(by_hand.per_tensor), FP8, (1, 1)),
    "fp8 of rows": (by_hand.scaled(by_hand.per_row), FP8, (1, 1)),
    "int4": (
        by_hand.int4,
        {"quant_method": "compressed-tensors", "config_groups": {"0": {"targets": ["Linear"], "weights": INT4}}},
        (1, 32),
    ),
}


def read(path: Path, name: str = f"{tiny.DOWN}.weight") -> Iterator[tuple[PackedMatrix, Mapping[str, Tensor]]]:
    checkpoint = open_checkpoint(path)
    assert checkpoint.packing is not None
    with checkpoint.open_parts() as raw:
        matrix = checkpoint.packing.matrices[name]
        yield matrix, parts_of(matrix, raw)


def info(name: str, tensor: Tensor) -> TensorInfo:
    kind = str(tensor.dtype).removeprefix("torch.")
    return TensorInfo(name, kind, tuple(tensor.shape), Path("f.safetensors"), tensor.nbytes, None)


def check(matrix: PackedMatrix, parts: Mapping[str, Tensor], rows: tuple[int, int], columns: tuple[int, int]) -> None:
    found = cut(matrix, parts, rows, columns)
    numbers = found.matrix.unpack(found.parts)[slice(*found.rows), slice(*found.columns)]
    assert torch.equal(numbers, matrix.unpack(parts)[slice(*rows), slice(*columns)])
    spare = [size - (last - first) for size, (first, last) in zip(found.matrix.shape, (rows, columns), strict=True)]
    assert all(n < 2 * border(matrix, of) for of, n in zip((ROWS, COLUMNS), spare, strict=True))


@pytest.mark.parametrize("case", CASES)
def test_a_part_has_the_numbers_of_those_rows_and_columns(case: str, tmp_path: Path) -> None:
    pack, config, borders = CASES[case]
    folder = tiny.packed(tmp_path, pack, quantization_config=config)
    for matrix, parts in read(folder.path):
        assert (border(matrix, ROWS), border(matrix)) == borders
        for rows in ((0, 64), (0, 32), (32, 64), (5, 47)):
            for columns in ((0, 96), (0, 32), (32, 96), (11, 83)):
                check(matrix, parts, rows, columns)


@pytest.mark.parametrize("case", ["gptq", "gptq with a list", "awq"])
def test_what_a_part_holds_is_its_share_of_every_tensor(case: str, tmp_path: Path) -> None:
    pack, config, _ = CASES[case]
    for matrix, parts in read(tiny.packed(tmp_path, pack, quantization_config=config).path):
        half = cut(matrix, parts, (0, 32), (0, 96)).parts
        third = cut(matrix, parts, (0, 64), (32, 64)).parts
        assert all(2 * half[role].nbytes == parts[role].nbytes for role in ("codes", "scales", "zeros"))
        assert all(3 * part.nbytes == parts[role].nbytes for role, part in third.items())


@pytest.mark.parametrize("experts", [3, 0])
def test_blocks_of_eight_bit_floats_are_cut_where_they_end_also_in_a_stack(experts: int) -> None:
    shape = (experts, 48, 40) if experts else (48, 40)
    g = torch.Generator().manual_seed(0)
    codes = torch.randn(shape, generator=g).to(torch.float8_e4m3fn)
    scales = torch.rand((*shape[:-2], 3, 3), generator=g)
    named = {"q.weight": codes, "q.weight_scale_inv": scales}
    file = PartsOfFile({name: info(name, tensor) for name, tensor in named.items()})
    matrix, parts = scaled_floats(file, {}, (16, 16))["q.weight"], {"codes": codes, "scales": scales}
    if experts:
        matrix, parts = of_stack(matrix, parts, 1)
    assert (border(matrix, ROWS), border(matrix)) == (16, 16)
    for rows, columns in (((0, 24), (0, 20)), ((24, 48), (20, 40)), ((17, 31), (33, 40))):
        check(matrix, parts, rows, columns)


def test_blocks_of_llama_cpp_are_cut_by_whole_blocks() -> None:
    gguf = pytest.importorskip("gguf")
    for kind in ("Q8_0", "Q4_K"):
        columns, nbytes = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
        raw = torch.randint(0, 60, (6, 4 * nbytes), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
        stored = TensorInfo("w", kind, (6, 4 * columns), Path("f.gguf"), raw.nbytes, 0)
        matrix = blocks_of({"w": stored}).matrices["w"]
        assert (border(matrix, ROWS), border(matrix)) == (1, columns)
        check(matrix, {"blocks": raw}, (2, 5), (columns, 3 * columns))
        check(matrix, {"blocks": raw}, (0, 6), (5, 2 * columns + 1))


def test_one_line_of_codes_is_not_cut() -> None:
    encodings = [Encoding(*e) for e in (("bitsandbytes", "nf4", 4), ("hqq", "int", 8), ("bitsandbytes", "int", 8))]
    found = [can_cut(PackedMatrix("w", (2, 2), "float32", e, {}, lambda *_: torch.empty(0))) for e in encodings]
    assert found == [False, False, True]
