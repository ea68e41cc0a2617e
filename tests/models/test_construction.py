"""Names of dtypes and devices as people write them."""

from __future__ import annotations

import pytest
import torch

from zoo.errors import UsageError
from zoo.models.construction import as_device, as_dtype


@pytest.mark.parametrize(
    ("word", "dtype"),
    [("fp64", torch.float64), ("fp32", torch.float32), ("fp16", torch.float16), ("bf16", torch.bfloat16),
     ("float32", torch.float32), ("half", torch.float16), (torch.bfloat16, torch.bfloat16), (None, None)],
)  # fmt: skip
def test_a_dtype_has_its_torch_name_and_a_short_one(word: str | torch.dtype | None, dtype: torch.dtype | None) -> None:
    assert as_dtype(word) == dtype


@pytest.mark.parametrize("word", ["int32", "fp8", "nn", "complex64", torch.int8])
def test_what_nothing_is_computed_in_is_refused(word: str | torch.dtype) -> None:
    with pytest.raises(UsageError, match="not a floating-point type"):
        as_dtype(word)


@pytest.mark.parametrize("word", ["float8_e4m3fn", torch.float8_e5m2])
def test_types_that_only_store_are_refused(word: str | torch.dtype) -> None:
    with pytest.raises(UsageError, match="no model computes in it"):
        as_dtype(word)


def test_a_device_is_one_that_is_there() -> None:
    assert as_device("cpu") == torch.device("cpu")
    assert as_device(torch.device("meta")).type == "meta"
    for word in ("cpuu", "cuda:99"):
        with pytest.raises(UsageError):
            as_device(word)
