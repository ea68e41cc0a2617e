"""Every test of a block starts from the same random numbers, in float64 unless it says otherwise."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings

settings.register_profile("zoo", derandomize=True, deadline=None)  # seeded, and no test fails for being slow once
settings.load_profile("zoo")


@pytest.fixture(autouse=True)
def _float64_and_seeded() -> Iterator[None]:
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)
