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
from zoo.files.pickle_file import PickleReader, read_pickle, refuse_pickle
from zoo.files.tensor_info import TensorInfo

PARTS = re.compile(r"consolidated\.([0-9]{2})\.pth")


def read_parts(folder: Path, *, allow_pickle: bool) -> tuple[dict[str, TensorInfo], tuple[str, ...]]:
    """The slices of every part, by `NAME#NN`, and what is to be told of where in the parts they are.

    Raises CheckpointError where a part is missing.
    """
    parts = {int(found[1]): path for path in folder.iterdir() if (found := PARTS.fullmatch(path.name))}
    if not allow_pickle:
        raise refuse_pickle(parts[min(parts)])
    for number in range(max(parts) + 1):
        if number not in parts:
            raise CheckpointError(folder / f"consolidated.{number:02}.pth", "", "is missing, but later parts are there")
    tensors: dict[str, TensorInfo] = {}
    undone: list[str] = []
    for number, path in sorted(parts.items()):
        infos, told = read_pickle(path)
        undone += told
        for name, info in infos.items():
            tensors[f"{name}#{number:02}"] = replace(info, name=f"{name}#{number:02}")
    return tensors, tuple(undone)


def open_parts(tensors: Mapping[str, TensorInfo]) -> OpenTensors:
    """The slices as tensors."""
    reader = PickleReader(tensors, {name: name.rpartition("#")[0] for name in tensors})
    return OpenTensors(tensors, reader, reader.close)
