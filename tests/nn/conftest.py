"""Every test of a block starts from the same random numbers, in float64 unless it says so; what oneDNN is asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from zoo.nn import products


@pytest.fixture(autouse=True)
def _float64_and_seeded() -> Iterator[None]:
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of rows of which oneDNN is asked for products, on any processor."""
    found: list[int] = []

    def product(x: Tensor, *others: Any) -> Any:
        found.append(len(x))
        return torch.ops.mkldnn._linear_pointwise(x, *others)

    monkeypatch.setattr(products, "onednn_product", lambda: product)
    return found
