"""NaN and infinity are found by their bits, wherever they are: as torch says, for every pattern of the narrow types."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
import torch

from zoo.checkpoint.checks import is_finite
from zoo.files import bits
from zoo.files.bits import PATTERNS, all_finite

NARROW = [name for name in PATTERNS if getattr(torch, name).itemsize <= 2]
WIDE = {"float32": ("<I", "<f"), "float64": ("<Q", "<d")}


@pytest.mark.parametrize("name", NARROW)
def test_of_every_pattern_torch_says_the_same(name: str) -> None:
    dtype = getattr(torch, name)
    whole = np.arange(1 << 8 * dtype.itemsize, dtype=f"u{dtype.itemsize}")
    expected = torch.isfinite(torch.from_numpy(whole).view(dtype).double())  # exact: double holds them all
    assert all_finite(whole[expected.numpy()].tobytes(), name)
    assert not any(all_finite(number.tobytes(), name) for number in whole[~expected.numpy()])


@pytest.mark.parametrize("name", WIDE)
def test_the_first_and_the_last_pattern_of_each_kind(name: str) -> None:
    as_bits, as_number = WIDE[name]
    width = 8 * struct.calcsize(as_bits)
    fraction = 23 if name == "float32" else 52
    ones = (1 << width - 1) - (1 << fraction)  # the exponent all ones
    for pattern in (0, 1, ones - 1, ones, ones + 1, (1 << width - 1) - 1):
        for sign in (0, 1 << width - 1):
            data = struct.pack(as_bits, pattern | sign)
            assert all_finite(data, name) == math.isfinite(struct.unpack(as_number, data)[0])


@pytest.mark.parametrize("at", [0, 6, 7, 8, 15, 16, 18])
def test_one_is_found_in_any_block(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    monkeypatch.setattr(bits, "BLOCK", 16)  # 8 numbers of float16
    numbers = np.full(19, 65504, np.float16)  # whose sum is infinite
    assert all_finite(numbers, "float16")
    numbers[at] = np.nan
    assert not all_finite(numbers, "float16")
    assert all_finite(b"", "float16")


def test_a_tensor_is_read_as_it_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr("zoo.checkpoint.checks.all_finite", lambda data, name: seen.append(data.ctypes.data) or True)
    matrix = torch.ones(3, 4, dtype=torch.bfloat16)
    for view in (matrix, matrix.T, matrix[1:2], torch.nn.Parameter(matrix), matrix[0, 0]):
        assert is_finite(view)
    start = matrix.data_ptr()
    assert seen == [start, start, start + 8, start, start]  # no copy


def test_a_view_with_gaps_is_looked_at_where_it_shows() -> None:
    matrix = torch.ones(4, 4)
    matrix[:, 3] = torch.inf
    assert is_finite(matrix[:, :3])
    assert is_finite(matrix[:, :1])  # a line of numbers that do not lie end to end
    assert is_finite(matrix[:, :3].T)
    assert not is_finite(matrix[2:, 2:])
    assert not is_finite(torch.full((2,), torch.nan).expand(3, 2))
    assert is_finite(torch.zeros(0, 3))
