"""The numbers in a GGUF file's blocks are the package's, bit for bit, for every type that torch unpacks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from zoo.files.packed.gguf_numbers import NUMBERS

gguf = pytest.importorskip("gguf")
HALVES = {"Q8_0": (0,), "Q4_0": (0,), "Q4_1": (0, 2), "Q5_0": (0,), "Q5_1": (0, 2), "Q4_K": (0, 2), "Q5_K": (0, 2)}


def blocks(name: str, rows: int, count: int) -> np.ndarray:
    """Rows of blocks of any bytes at all, but for scales, which are numbers."""
    _, nbytes = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]]
    g = np.random.default_rng(7)
    found = g.integers(0, 256, (rows, count, nbytes), dtype=np.uint8)
    for at in HALVES.get(name, (208,)):
        found[..., at : at + 2] = g.normal(size=(rows, count, 1)).astype(np.float16).view(np.uint8)
    return found.reshape(rows, -1)


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_are_those_of_the_package(name: str) -> None:
    for rows, count in ((5, 3), (64, 1)):
        packed = blocks(name, rows, count)
        theirs = gguf.dequantize(packed, gguf.GGMLQuantizationType[name])
        ours = NUMBERS[name](torch.from_numpy(packed)).reshape(rows, -1).numpy()
        assert (ours.view(np.int32) == theirs.view(np.int32)).all()
        part = NUMBERS[name](torch.from_numpy(packed)[1:4]).reshape(3, -1).numpy()  # a band does not begin at 0
        assert (part == theirs[1:4]).all()
