"""Checkpoints for tests: small, seeded, and as broken as a test wants them."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from zoo.errors import CheckpointError

CONFIG = {"model_type": "llama", "hidden_size": 4}


def tensors(seed: int = 0) -> dict[str, Tensor]:
    """A few tensors of several types and ranks."""
    g = torch.Generator().manual_seed(seed)
    return {
        "model.embed.weight": torch.randn(7, 4, generator=g),
        "model.layers.0.q.weight": torch.randn(4, 4, generator=g).bfloat16(),
        "model.layers.0.q.bias": torch.randn(4, generator=g).half(),
        "model.layers.1.q.weight": torch.randn(4, 4, generator=g).bfloat16(),
        "model.layers.1.mask": torch.tensor([True, False, True]),
        "model.scale": torch.randn((), generator=g).double(),
        "model.empty": torch.zeros(0, 3),
    }


def folder(path: Path, weights: dict[str, Tensor] | None = None, config: Any = None) -> Path:
    """A Hugging Face folder of one file."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(json.dumps(CONFIG if config is None else config))
    save_file(tensors() if weights is None else weights, path / "model.safetensors", {"format": "pt"})
    return path


def sharded(path: Path, shards: dict[str, dict[str, Tensor]], weight_map: dict[str, Any] | None = None) -> Path:
    """A Hugging Face folder of several files; `weight_map` replaces what its index should say."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(json.dumps(CONFIG))
    for file, weights in shards.items():
        save_file(weights, path / file, {"format": "pt"})
    right = {name: file for file, weights in shards.items() for name in weights}
    index = {"metadata": {"total_size": 0}, "weight_map": right if weight_map is None else weight_map}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))
    return path


def raw(path: Path, header: Any, data: bytes = b"", *, length: int | None = None) -> Path:
    """A safetensors file with this header, a JSON value or bytes, which claims to be `length` bytes long."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def entry(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, Any]:
    """One tensor of a header."""
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def bits(tensor: Tensor) -> bytes:
    """A tensor's bytes, by which even NaNs are compared."""
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


@contextmanager
def read_or_refused(file: object) -> Iterator[None]:
    """Let a CheckpointError that names `file` first pass for an answer."""
    try:
        yield
    except CheckpointError as error:
        if not str(error).startswith(f"{file}: "):
            raise AssertionError(f"{error} does not name {file}") from error
