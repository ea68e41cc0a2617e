"""Checkpoints made of the model in the box, each with one thing changed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

import zoo

TINY = Path(zoo.__file__).parent / "box" / "tiny"


def copy(folder: Path, *, dtype: torch.dtype = torch.float32, **changed: object) -> dict[str, torch.Tensor]:
    """Tiny's files in `folder`, but the weights, which are given back in `dtype`; config.json with keys changed."""
    folder.mkdir()
    for file in TINY.iterdir():
        if file.name not in ("model.safetensors", "zoo.json", "README.md"):
            shutil.copy(file, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"dtype": str(dtype).removeprefix("torch.")} | changed))
    return {name: tensor.to(dtype) for name, tensor in load_file(TINY / "model.safetensors").items()}


def write(folder: Path, tensors: dict[str, torch.Tensor]) -> Path:
    """The weights of `folder`."""
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def same(folder: Path, dtype: torch.dtype) -> Path:
    """Tiny in another dtype."""
    return write(folder, copy(folder, dtype=dtype))


def without_layer(folder: Path, layer: int, *, num_layers: int = 5) -> Path:
    """Tiny in float32 with one layer left out and those behind it moved up."""
    tensors = {}
    for name, tensor in copy(folder, num_hidden_layers=num_layers - 1).items():
        parts = name.split(".")
        if parts[1] == "layers":
            number = int(parts[2])
            if number == layer:
                continue
            parts[2] = str(number - (number > layer))
        tensors[".".join(parts)] = tensor
    return write(folder, tensors)
