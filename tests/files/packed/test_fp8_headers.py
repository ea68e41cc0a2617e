"""Headers of 8-bit floats in blocks: each guard provoked once, without a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoo.errors import ZooError
from zoo.files.packed import recognise
from zoo.files.tensor_info import TensorInfo

FILE, FP8 = Path("x.bin"), "float8_e4m3fn"
CONFIG = {"quantization_config": {"quant_method": "fp8", "weight_block_size": [2, 3]}}


def info(name: str, dtype: str, *shape: int) -> TensorInfo:
    return TensorInfo(name, dtype, shape, FILE, 1, 0)


def shown(*infos: TensorInfo) -> dict[str, TensorInfo]:
    tensors = {one.name: one for one in infos}
    packing = recognise(CONFIG, FILE, tensors)
    assert packing is not None
    return packing.shown(tensors)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_each_weight_in_blocks_has_its_scales(dtype: str) -> None:
    found = shown(info("w", FP8, 3, 7), info("w_scale_inv", dtype, 2, 3), info("n", "bfloat16", 5))
    assert list(found) == ["w", "n"]
    assert (found["w"].dtype, found["w"].shape, found["w"].nbytes, found["w"].offset) == ("bfloat16", (3, 7), 2, None)


@pytest.mark.parametrize(
    "wrong",
    [
        [info("w", FP8, 3, 7)],
        [info("w_scale_inv", "float32", 2, 3)],
        [info("w", FP8, 3, 7), info("w_scale_inv", "float64", 2, 3)],
        [info("w", FP8, 3, 7), info("w_scale_inv", "float32", 3, 2)],
        [info("w", FP8, 3, 7), info("w_scale_inv", "float32", 1, 2)],
        [info("w", "bfloat16", 3, 7), info("w_scale_inv", "float32", 2, 3)],
        [info("w", FP8, 7), info("w_scale_inv", "float32", 3)],
    ],
)
def test_what_does_not_fit_is_refused(wrong: list[TensorInfo]) -> None:
    with pytest.raises(ZooError, match=r"^x.bin: w"):
        shown(*wrong)
