"""Writing folders in tests, for several of their files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from tests.files import make
from zoo.files.safetensors_writer import TensorSpec
from zoo.files.write import write_folder

CONFIG = {"model_type": "llama", "name": "é"}
ANNOUNCED: dict[str, TensorSpec] = {"a": ("float32", (2,)), "b": ("float32", (2,))}


def specs(weights: dict[str, Tensor]) -> dict[str, TensorSpec]:
    """What `weights` are announced as."""
    return {name: (str(t.dtype).removeprefix("torch."), tuple(t.shape)) for name, t in weights.items()}


def write(target: Path, weights: dict[str, Tensor] | None = None, **options: Any) -> Path:
    """A folder of `weights`, or of those of `make.tensors`."""
    weights = make.tensors() if weights is None else weights
    return write_folder(target, specs(weights), weights.items(), config=options.pop("config", CONFIG), **options)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}
