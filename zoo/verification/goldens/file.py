"""Goldens: numbers of the reference implementation, committed beside a family, that its code must give on any machine.

A golden is a JSON file in the folder `golden` of the package that holds the family's config class; a plugin ships one
by putting it there. Its weights follow from the names of its tensors (see `numbers`), so that a few kilobytes are
enough, or lie in a safetensors file beside it. `golden_writer` writes them where transformers has
a class for the family.

    family      the registered name
    reference   the program that computed the numbers
    config      the foreign config, read by the family's hf dialect
    weights     null, or the name of a file of foreign tensors
    inputs      tokens, decoder_tokens: rows of ids; grid, shapes: rows of sides; pixels: a shape, for numbers of that
                name
    expected    per output: which rows of it, all leading dimensions counted as one, and their values
    layers      per layer: the last row of what leaves it
    limit       largest difference, in units of the root mean square of the values
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from hashlib import sha256
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo.anatomy.records import Shape
from zoo.errors import CheckpointError
from zoo.files.json_file import read_json

GAIN = 1.2  # matrices grow their input by this, so that attention is peaked and a wrong layout shows


@dataclass(frozen=True)
class Golden:
    """One file, read."""

    file: Path
    family: str
    reference: str
    config: dict[str, Any]
    weights: str | None
    inputs: dict[str, list[Any]]
    expected: dict[str, dict[str, list[Any]]]
    layers: dict[str, list[float]]
    limit: float

    @property
    def name(self) -> str:
        return self.file.stem


def read_golden(file: Path) -> Golden:
    """Raises CheckpointError for a file that is no golden."""
    try:
        return Golden(file, **read_json(file))
    except TypeError as error:
        raise CheckpointError(file, "", f"it is not a golden: {error}") from None


def inputs_of(golden: Golden) -> dict[str, Tensor]:
    """What the model is given."""
    tokens = {name: torch.tensor(x) for name, x in golden.inputs.items() if name != "pixels"}
    shape = golden.inputs.get("pixels")
    return tokens if shape is None else tokens | {"pixels": numbers("pixels", tuple(shape)).double()}


def numbers(name: str, shape: Shape) -> Tensor:
    """A tensor in float32 that depends on nothing but its name and shape: the same on every machine.

    Numbers are uniform, from SplitMix64 (Steele, Lea and Flood, 2014) seeded by the name: biases around 0, other
    vectors around 1, matrices scaled by their width. Integer arithmetic and single IEEE operations only.
    """
    seed = np.uint64(int.from_bytes(sha256(name.encode()).digest()[:8], "little"))
    with np.errstate(over="ignore"):
        z = np.arange(1, prod(shape) + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + seed
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    uniform = (z >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1.0  # from -1 to 1
    unit = uniform * 1.7320508075688772  # of variance 1
    if name == "pixels":
        values = unit
    elif len(shape) < 2:
        values = 0.3 * unit if name.endswith("bias") else 1.0 + 0.3 * unit
    else:
        fan_in = prod(shape[1:]) if len(shape) > 3 else shape[-1]  # a convolution sums over all but the first
        values = unit * (GAIN / float(fan_in) ** 0.5)
    return torch.from_numpy(values.astype(np.float32).reshape(shape))


def write_golden(file: Path, **content: Any) -> None:
    """One number a line would be long and one line unreadable: each list of numbers has a line of its own."""
    lines = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    file.parent.mkdir(exist_ok=True)
    file.write_text(_joined(lines) + "\n", encoding="utf-8")


def _joined(text: str) -> str:
    """Innermost lists on one line."""
    return re.sub(r"\[\s+([^\[\]{}]+?)\s+\]", lambda m: "[" + re.sub(r"\s*\n\s*", " ", m[1]) + "]", text)
