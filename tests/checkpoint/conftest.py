"""Tiny checkpoint folders that differ from what zoo writes in a few keys."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import zoo
from zoo.registry import installed

Change = Callable[..., Path]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The tiny model of a family as its config.json and model.safetensors, written once."""
    made: dict[str, Path] = {}

    def write(name: str) -> Path:
        if name not in made:
            config = installed()[name].config_class.tiny()
            folder = tmp_path_factory.mktemp("told") / name
            made[name] = zoo.save(zoo.build(config, device="cpu"), folder)
        return made[name]

    return write


@pytest.fixture
def change(stored: Callable[[str], Path], tmp_path: Path) -> Change:
    """A copy of a tiny folder whose config lacks the keys `without` and has others."""

    def write(name: str = "llama", /, *without: str, **keys: Any) -> Path:
        raw = json.loads((stored(name) / "config.json").read_text())
        raw = {key: value for key, value in raw.items() if key not in without} | keys
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(json.dumps(raw))
        if not (folder / "model.safetensors").exists():
            (folder / "model.safetensors").symlink_to(stored(name) / "model.safetensors")
        return folder

    return write
