"""What all tests share: one thread each, and where the numbers of the reference implementations lie."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"  # no test reaches the network

settings.register_profile("zoo", derandomize=True, deadline=None)  # seeded, and no test fails for being slow once
settings.load_profile("zoo")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Numbers from original implementations, kept beside the repository; tests that need them skip without."""
    if not SHARED.is_dir():
        pytest.skip("the folder ../shared with the reference numbers is not here")
    return SHARED
