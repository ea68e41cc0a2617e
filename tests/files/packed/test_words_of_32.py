"""GPTQ and AWQ: integers in words of 32 bits, packed here bit by bit from the published layouts, in numpy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.files.packed import tiny
from zoo.errors import CheckpointError
from zoo.files.checkpoint import open_checkpoint

Pack = Callable[[str, Tensor], tuple[dict[str, Tensor], Tensor]]
AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)  # the row that stands at each place of a word, from the lowest bits


def words(codes: np.ndarray, bits: int) -> Tensor:
    """Codes [N, K] as one stream of bits per column, the lowest first, cut into words of 32: [N * bits / 32, K]."""
    streams = ((codes[:, None, :] >> np.arange(bits)[None, :, None]) & 1).reshape(-1, codes.shape[1])
    cut = streams.reshape(-1, 32, codes.shape[1]).astype(np.uint64) << np.arange(32, dtype=np.uint64)[None, :, None]
    return torch.from_numpy(cut.sum(1).astype(np.uint32).view(np.int32).copy())


def quantise(
    matrix: Tensor, bits: int, groups: np.ndarray, *, symmetric: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes [out, in], zero points [out, G] and scales [out, G] in float16: round to nearest."""
    values, top = matrix.float().numpy(), 2**bits - 1
    count = int(groups.max()) + 1
    zeros, scales = np.zeros((len(values), count), np.int64), np.zeros((len(values), count), np.float16)
    codes = np.zeros(values.shape, np.int64)
    for g in range(count):
        part = values[:, groups == g]
        low, high = np.minimum(part.min(1), 0), np.maximum(part.max(1), 0)
        if symmetric:
            high = np.maximum(-low, high)
            low = -high
        scale = ((high - low) / top).astype(np.float16)
        zero = np.full(len(values), (top + 1) // 2) if symmetric else np.rint(-low / scale.astype(np.float32))
        zeros[:, g], scales[:, g] = np.clip(zero, 1, top), scale
        codes[:, groups == g] = np.clip(np.rint(part / scale[:, None].astype(np.float32)) + zeros[:, g : g + 1], 0, top)
    return codes, zeros, scales


def numbers(codes: np.ndarray, zeros: np.ndarray, scales: np.ndarray, groups: np.ndarray) -> Tensor:
    """(code - zero) * scale, in float16."""
    out = (codes - zeros[:, groups]).astype(np.float16) * scales[:, groups]
    return torch.from_numpy(out)


def gptq(
    bits: int, size: int, *, symmetric: bool = True, ordered: bool = False, v2: bool = False, index: bool = True
) -> Pack:
    def pack(module: str, matrix: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        columns = matrix.shape[1]
        groups = np.arange(columns) // (columns if size == -1 else size)
        if ordered:
            groups = np.random.default_rng(columns).permutation(groups)
        codes, zeros, scales = quantise(matrix, bits, groups, symmetric=symmetric)
        parts = {
            "qweight": words(codes.T, bits),
            "qzeros": words(zeros - (0 if v2 else 1), bits).T.contiguous(),
            "scales": torch.from_numpy(scales.T.copy()),
        }
        parts |= {"g_idx": torch.from_numpy(groups.astype(np.int32))} if index else {}
        return parts, numbers(codes, zeros, scales, groups)

    return pack


def awq(size: int) -> Pack:
    def pack(module: str, matrix: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        groups = np.arange(matrix.shape[1]) // (matrix.shape[1] if size == -1 else size)
        codes, zeros, scales = quantise(matrix, 4, groups, symmetric=False)

        def turned(values: np.ndarray) -> Tensor:  # [out, n] to [n, out / 8]
            eights = values.reshape(-1, 8, values.shape[1])[:, AWQ_ORDER]
            return words(eights.reshape(values.shape), 4).T.contiguous()

        parts = {"qweight": turned(codes), "qzeros": turned(zeros), "scales": torch.from_numpy(scales.T.copy())}
        return parts, numbers(codes, zeros, scales, groups)

    return pack


GPTQ: dict[str, Any] = {"quant_method": "gptq", "bits": 4, "group_size": 32, "sym": True, "desc_act": False}
AWQ: dict[str, Any] = {"quant_method": "awq", "bits": 4, "group_size": 32, "zero_point": True, "version": "gemm"}
CASES: dict[str, tuple[Pack, dict[str, Any], str]] = {
    "4 bits": (gptq(4, 32), GPTQ, "GPTQ, 4 bits, groups of 32, symmetric: yes"),
    "2 bits": (gptq(2, 32), GPTQ | {"bits": 2}, "GPTQ, 2 bits"),
    "3 bits": (gptq(3, 32), GPTQ | {"bits": 3}, "GPTQ, 3 bits"),
    "8 bits": (gptq(8, 32), GPTQ | {"bits": 8}, "GPTQ, 8 bits"),
    "3 bits, zeros": (
        gptq(3, 16, symmetric=False),
        GPTQ | {"bits": 3, "group_size": 16, "sym": False},
        "symmetric: no",
    ),
    "zeros as they are": (
        gptq(4, 32, symmetric=False, v2=True),
        GPTQ | {"sym": False, "checkpoint_format": "gptq_v2"},
        "GPTQ v2, 4 bits",
    ),
    "ordered": (
        gptq(4, 16, ordered=True),
        GPTQ | {"group_size": 16, "desc_act": True},
        "columns ordered by activation",
    ),
    "one group": (gptq(4, -1), GPTQ | {"group_size": -1}, "one group per row"),
    "a ragged group": (gptq(4, 40), GPTQ | {"group_size": 40}, "groups of 40"),
    "no list of groups": (gptq(4, 32, index=False), GPTQ, "groups of 32"),
    "others by module": (gptq(8, 32), GPTQ | {"dynamic": {"+:.*": {"bits": 8}}}, "GPTQ, 8 bits, groups of 32"),
    "awq": (awq(32), AWQ, "AWQ, 4 bits, groups of 32, symmetric: no"),
    "awq, one group": (awq(-1), AWQ | {"group_size": -1}, "AWQ, 4 bits, one group per row"),
}


@pytest.mark.parametrize("case", CASES)
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
    folder = tiny.packed(tmp_path / "f", gptq(4, 32, v2=True), dtype="float16", quantization_config=GPTQ)
    assert open_checkpoint(folder.path).packing is not None  # all zero points are 8: read as 9
    with_zero = tiny.packed(tmp_path / "g", lowest_zero, dtype="float16", quantization_config=GPTQ)
    with (
        open_checkpoint(with_zero.path).open() as tensors,
        pytest.raises(CheckpointError, match=r"qzeros: has a stored zero point of 15, which no two tools read alike"),
    ):
        tensors[f"{tiny.UP}.weight"]


def lowest_zero(module: str, matrix: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    parts, out = gptq(4, 32)(module, matrix)
    return parts | {"qzeros": parts["qzeros"] | 15}, out
