"""Meta's own format: params.json, and one consolidated.NN.pth per part of a model split over several devices.

Each part holds a slice of every tensor under the same name. Here slice N of `x` is called `x#NN`, always with the
number, so that one part and many are read by one table.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from zoo.errors import CheckpointError
from zoo.files.open_tensors import OpenTensors
from zoo.files.pickle_file import PickleReader, read_pickle_header, refuse_pickle
from zoo.files.tensor_info import TensorInfo

PARTS = re.compile(r"consolidated\.([0-9]{2})\.pth")


def read_parts(folder: Path, *, allow_pickle: bool) -> dict[str, TensorInfo]:
    """The slices of every part, by `NAME#NN`. Raises CheckpointError where a part is missing."""
    parts = {int(found[1]): path for path in folder.iterdir() if (found := PARTS.fullmatch(path.name))}
    if not allow_pickle:
        raise refuse_pickle(parts[min(parts)])
    for number in range(max(parts) + 1):
        if number not in parts:
            raise CheckpointError(folder / f"consolidated.{number:02}.pth", "", "is missing, but later parts are there")
    tensors: dict[str, TensorInfo] = {}
    for number, path in sorted(parts.items()):
        for name, info in read_pickle_header(path).items():
            tensors[f"{name}#{number:02}"] = replace(info, name=f"{name}#{number:02}")
    return tensors


def open_parts(tensors: Mapping[str, TensorInfo]) -> OpenTensors:
    """The slices as tensors."""
    reader = PickleReader(tensors, {name: name.rpartition("#")[0] for name in tensors})
    return OpenTensors(tensors, reader, reader.close)
