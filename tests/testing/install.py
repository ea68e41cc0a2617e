"""Puts the stranger into this process as an installed distribution, with one fault planted in it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.distributions import install
from zoo.registry import installed

SOURCE = Path(__file__).parent / "stranger"
NUMBERS = count()  # packages get names of their own, for Python keeps what it has imported

Plant = Callable[..., None]


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plant]:
    """plant("model.py", "this text", "that text") installs a stranger in which that text stands for this."""

    def put(file: str = "", this: str = "", that: str = "") -> None:
        package = f"stranger_{next(NUMBERS)}"
        paths = [path for path in SOURCE.rglob("*") if path.suffix in (".py", ".yaml")]
        texts = {str(path.relative_to(SOURCE)): path.read_text(encoding="utf-8") for path in paths}
        if file:
            assert texts[file].count(this) == 1, f"{this!r} is not in {file} exactly once"
            texts[file] = texts[file].replace(this, that)
        install(tmp_path, "zoo-stranger", {"stranger": package}, {f"{package}/{n}": t for n, t in texts.items()})
        monkeypatch.syspath_prepend(tmp_path)
        importlib.invalidate_caches()
        installed.cache_clear()

    yield put
    installed.cache_clear()
    for name in [name for name in sys.modules if name.startswith("stranger_")]:
        del sys.modules[name]
