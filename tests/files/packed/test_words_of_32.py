"""GPTQ and AWQ: integers in words of 32 bits, packed here bit by bit from the published layouts, in numpy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.files.packed import by_hand, tiny
from tests.some import one_in
from zoo.errors import CheckpointError
from zoo.files.checkpoint import open_checkpoint

GPTQ: dict[str, Any] = {"quant_method": "gptq", "bits": 4, "group_size": 32, "sym": True, "desc_act": False}
AWQ: dict[str, Any] = {"quant_method": "awq", "bits": 4, "group_size": 32, "zero_point": True, "version": "gemm"}
CASES: dict[str, tuple[by_hand.Pack, dict[str, Any], str]] = {
    "4 bits": (by_hand.gptq(4, 32), GPTQ, "GPTQ, 4 bits, groups of 32, symmetric: yes"),
    "2 bits": (by_hand.gptq(2, 32), GPTQ | {"bits": 2}, "GPTQ, 2 bits"),
    "3 bits": (by_hand.gptq(3, 32), GPTQ | {"bits": 3}, "GPTQ, 3 bits"),
    "8 bits": (by_hand.gptq(8, 32), GPTQ | {"bits": 8}, "GPTQ, 8 bits"),
    "3 bits, zeros": (
        by_hand.gptq(3, 16, symmetric=False),
        GPTQ | {"bits": 3, "group_size": 16, "sym": False},
        "symmetric: no",
    ),
    "zeros as they are": (
        by_hand.gptq(4, 32, symmetric=False, v2=True),
        GPTQ | {"sym": False, "checkpoint_format": "gptq_v2"},
        "GPTQ v2, 4 bits",
    ),
    "ordered": (
        by_hand.gptq(4, 16, ordered=True),
        GPTQ | {"group_size": 16, "desc_act": True},
        "columns ordered by activation",
    ),
    "one group": (by_hand.gptq(4, -1), GPTQ | {"group_size": -1}, "one group per row"),
    "a ragged group": (by_hand.gptq(4, 40), GPTQ | {"group_size": 40}, "groups of 40"),
    "no list of groups": (by_hand.gptq(4, 32, index=False), GPTQ, "groups of 32"),
    "others by module": (by_hand.gptq(8, 32), GPTQ | {"dynamic": {"+:.*": {"bits": 8}}}, "GPTQ, 8 bits, groups of 32"),
    "awq": (by_hand.awq(32), AWQ, "AWQ, 4 bits, groups of 32, symmetric: no"),
    "awq, one group": (by_hand.awq(-1), AWQ | {"group_size": -1}, "AWQ, 4 bits, one group per row"),
}


@pytest.mark.parametrize("case", one_in(4, CASES))
def test_each_layout_is_unpacked_to_the_numbers_that_were_packed(case: str, tmp_path: Path) -> None:
    pack, config, told = CASES[case]
    folder = tiny.packed(tmp_path / "f", pack, dtype="float16", quantization_config=config)
    checkpoint = tiny.check(folder)
    assert checkpoint.packing is not None
    assert told in checkpoint.packing.in_words(checkpoint.tensors)


@pytest.mark.parametrize("case", ["3 bits, zeros", "ordered", "awq"])
def test_some_rows_are_those_of_the_whole(case: str, tmp_path: Path) -> None:
    pack, config, _ = CASES[case]
    folder = tiny.packed(tmp_path / "f", pack, dtype="float16", quantization_config=config)
    checkpoint = open_checkpoint(folder.path)
    assert checkpoint.packing is not None
    matrix = checkpoint.packing.matrices[f"{tiny.UP}.weight"]
    with checkpoint.open_parts() as raw:
        parts = {role: raw[info.name] for role, info in matrix.parts.items()}
        for rows in (slice(0, 1), slice(5, 23), slice(90, 96), slice(4, 4), slice(None)):
            assert torch.equal(matrix.unpack(parts, rows), folder.unpacked[matrix.name][rows])


def test_a_model_in_another_type_has_the_numbers_rounded_once_more(tmp_path: Path) -> None:
    pack, config, _ = CASES["awq"]
    folder = tiny.packed(tmp_path / "f", pack, dtype="bfloat16", quantization_config=config)
    expected = {name: tensor.bfloat16() for name, tensor in folder.unpacked.items()}
    tiny.check(folder._replace(unpacked=expected))


def test_a_zero_point_that_tools_read_differently_is_refused(tmp_path: Path) -> None:
    folder = tiny.packed(tmp_path / "f", by_hand.gptq(4, 32, v2=True), dtype="float16", quantization_config=GPTQ)
    assert open_checkpoint(folder.path).packing is not None  # all zero points are 8: read as 9
    with_zero = tiny.packed(tmp_path / "g", lowest_zero, dtype="float16", quantization_config=GPTQ)
    with (
        open_checkpoint(with_zero.path).open() as tensors,
        pytest.raises(CheckpointError, match=r"qzeros: has a stored zero point of 15, which no two tools read alike"),
    ):
        tensors[f"{tiny.UP}.weight"]


def lowest_zero(module: str, matrix: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    parts, out = by_hand.gptq(4, 32)(module, matrix)
    return parts | {"qzeros": parts["qzeros"] | 15}, out
