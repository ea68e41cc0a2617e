"""What all tests share: one thread each, and where the numbers of the reference implementations lie."""

from __future__ import annotations

import gc
import importlib.util
import os
import re
import sys
from pathlib import Path

import pytest
from hypothesis import settings

from tests import prepared

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"  # no test reaches the network

os.fsync = lambda fd: None  # no test turns the machine off, and each of a thousand waits for the disk

settings.register_profile("zoo", derandomize=True, deadline=None)  # seeded, and no test fails for being slow once
settings.register_profile("fast", settings.get_profile("zoo"), max_examples=30)
settings.load_profile("zoo")

FAST = "not slow"  # what `-m` says for the fast tests
SLOW = re.compile(r"^pytestmark = (?:\[[^\]]*)?pytest\.mark\.slow\b", re.MULTILINE)  # a file that is slow as a whole

gc.disable()  # what is collected stays: see below

SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--every-way", action="store_true", help="cut every family over ranks in every way")


def pytest_configure(config: pytest.Config) -> None:
    """Let workers and children read what one of them compiled, in this run or the last, as pytest's cache does.

    Elsewhere each worker rewrites every test, and each child compiles zoo. `-p no:cacheprovider` leaves nothing behind.
    """
    if config.pluginmanager.has_plugin("cacheprovider"):
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        sys.dont_write_bytecode = False
    if config.option.markexpr == FAST:
        settings.load_profile("fast")  # the whole suite draws a hundred examples


def pytest_collection_finish() -> None:
    """Leave modules and tests out of what the collector walks, which it then does less often: a tenth of the time."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    gc.enable()


def pytest_sessionfinish() -> None:
    """Let the collector look through nothing as the run ends."""
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave files that are slow as a whole unread by the fast tests: reading one takes longer than many a test."""
    if config.option.markexpr != FAST or not collection_path.name.startswith("test_"):
        return None
    return SLOW.search(collection_path.read_text(encoding="utf-8")) is not None or None


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(collector: pytest.Module | pytest.Class, obj: object) -> list[pytest.Item] | None:
    """Make no cases of a slow test for the fast tests, which would leave out a thousand of them one by one."""
    marks = getattr(obj, "pytestmark", None) if collector.config.option.markexpr == FAST else None
    return [] if isinstance(marks, list) and any(mark.name == "slow" for mark in marks) else None


@pytest.fixture(scope="session")
def shared() -> Path:
    """Numbers from original implementations, kept beside the repository; tests that need them skip without."""
    if not SHARED.is_dir():
        pytest.skip("the folder ../shared with the reference numbers is not here")
    return SHARED


@pytest.fixture
def unadvised(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the refusal of a checkpoint offers, for which every family reads the file, is not looked for."""
    from zoo.checkpoint import inspection

    monkeypatch.setattr(inspection, "with_a_look_alike", lambda error, *_: error)
    monkeypatch.setattr(inspection, "look_alike", lambda *_: (None, ""))
    monkeypatch.setattr(inspection, "repair_of", lambda *_, **__: None)


@pytest.fixture
def quick_jobs(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What zoo runs as a process of its own begins with torch and the reference imported."""
    folder = tmp_path_factory.mktemp("bin")
    has_reference = importlib.util.find_spec("transformers") is not None
    for name, value in prepared.program(folder, "python", reference=has_reference).items():
        if name != "PATH":
            monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
