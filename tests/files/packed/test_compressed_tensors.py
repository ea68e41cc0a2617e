"""compressed-tensors: the package of that name packs and unpacks; zoo reads the same numbers."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.files.packed import owners, tiny

pytestmark = [
    pytest.mark.slow,  # the package takes seconds to import
    pytest.mark.skipif(find_spec("compressed_tensors") is None, reason="the owner of the format is the witness"),
]


def ints(bits: int, strategy: str, size: int | None = None, *, symmetric: bool = True) -> dict[str, Any]:
    return {"type": "int", "num_bits": bits, "strategy": strategy, "group_size": size, "symmetric": symmetric}


def floats(bits: int, strategy: str, **others: Any) -> dict[str, Any]:
    return {"type": "float", "num_bits": bits, "strategy": strategy, **others}


MX = {"group_size": 32, "scale_dtype": "torch.uint8"}
NV = {"group_size": 16, "scale_dtype": "torch.float8_e4m3fn"}
SCHEMES: dict[str, tuple[str, dict[str, Any], str]] = {
    "int4": ("pack-quantized", ints(4, "group", 32), "4 bits, groups of 32, symmetric: yes"),
    "int4, zeros": ("pack-quantized", ints(4, "group", 16, symmetric=False), "groups of 16, symmetric: no"),
    "int4 per row": ("pack-quantized", ints(4, "channel"), "one scale per row"),
    "int4 per row, zeros": ("pack-quantized", ints(4, "channel", symmetric=False), "symmetric: no"),
    "int4 per tensor": ("pack-quantized", ints(4, "tensor"), "one scale per tensor"),
    "int2": ("pack-quantized", ints(2, "group", 32), "2 bits"),
    "int8, packed": ("pack-quantized", ints(8, "group", 32), "8 bits"),
    "int8, packed, zeros": ("pack-quantized", ints(8, "channel", symmetric=False), "8 bits"),
    "int8 per row": ("int-quantized", ints(8, "channel"), "int-quantized, 8 bits"),
    "int8 per tensor, zeros": ("int-quantized", ints(8, "tensor", symmetric=False), "symmetric: no"),
    "fp8 per tensor": ("float-quantized", floats(8, "tensor"), "8 bits, one scale per tensor, floats"),
    "fp8 per row": ("float-quantized", floats(8, "channel"), "float-quantized"),
    "fp8 in blocks": ("naive-quantized", floats(8, "block", block_structure=[40, 24]), "blocks of 40 x 24"),
    "mxfp8": ("mxfp8-quantized", floats(8, "group", **MX), "mxfp8-quantized, 8 bits"),
    "mxfp4": ("mxfp4-pack-quantized", floats(4, "group", **MX), "mxfp4-pack-quantized, 4 bits, groups of 32"),
    "nvfp4": ("nvfp4-pack-quantized", floats(4, "tensor_group", **NV), "nvfp4-pack-quantized, 4 bits, groups of 16"),
}


@pytest.mark.parametrize("case", SCHEMES)
def test_each_scheme_is_what_its_owner_unpacks(case: str, tmp_path: Path) -> None:
    format, args, words = SCHEMES[case]
    folder = tiny.packed(
        tmp_path / "f",
        owners.compressed_tensors(format, **args),
        quantization_config=owners.compressed_tensors_config(format, **args),
    )
    checkpoint = tiny.check(folder)
    assert checkpoint.packing is not None
    told = checkpoint.packing.in_words(checkpoint.tensors)
    assert words in told
    assert "7 of 12 tensors packed; head and embedding in bfloat16" in told


@pytest.mark.parametrize("case", ["int4 per row, zeros", "int4 per tensor", "int2 per row", "fp8 in blocks"])
def test_odd_shapes_end_within_words_and_blocks(case: str, tmp_path: Path) -> None:
    format, args, _ = (SCHEMES | {"int2 per row": ("pack-quantized", ints(2, "channel"), "")})[case]
    for i, shape in enumerate([(31, 37), (1, 1), (5, 7), (65, 33)]):
        matrix = torch.randn(*shape, generator=torch.Generator().manual_seed(i)).bfloat16()
        parts, numbers = owners.compressed_tensors(format, **args)("m", matrix)
        stored = {f"m.{name}": value for name, value in parts.items()}
        settings = owners.compressed_tensors_config(format, **args)
        folder = tiny.write(tmp_path / str(i), stored, torch_dtype="bfloat16", quantization_config=settings)
        tiny.check(tiny.PackedFolder(folder, {"m.weight": numbers}))
