"""Whole folders of families, and broken copies of them, for tests of what is refused, advised or told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import load_file, save_file

import zoo
from zoo.cli import main
from zoo.registry import installed

TINY = Path(zoo.__file__).parent / "box" / "tiny"
Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folders of families at their tiny configs, written once."""
    root, known = tmp_path_factory.mktemp("saved"), dict[str, Path]()

    def of(name: str) -> Path:
        if name == "tiny":
            return TINY
        if name not in known:
            model = zoo.build(installed()[name].config_class.tiny(), device="cpu", seed=1)
            known[name] = zoo.save(model, root / name, format="hf")
        return known[name]

    return of


@pytest.fixture
def broken(saved: Callable[[str], Path], tmp_path: Path) -> Callable[..., Path]:
    """A copy of a family's folder with keys of its config and tensors changed; a key that is None is taken out."""

    def of(name: str, edit: Callable[[Tensors], object] = lambda tensors: None, **keys: Any) -> Path:
        folder = Path(shutil.copytree(saved(name), tmp_path / "bad"))
        (folder / "zoo.json").unlink(missing_ok=True)
        config = json.loads((folder / "config.json").read_text()) | keys
        (folder / "config.json").write_text(json.dumps({k: v for k, v in config.items() if v is not None}))
        tensors = load_file(folder / "model.safetensors")
        edit(tensors)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return folder

    return of


def run(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.arange(12)[None])
