"""A folder of peft: adapter_config.json beside adapter_model.safetensors; of the tensors only headers are read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from zoo.adapters.file.settings import AdapterSettings, read_settings
from zoo.adapters.file.tensors import FactorPair, pairs_in
from zoo.errors import CheckpointError
from zoo.files.folders import ADAPTER
from zoo.files.json_file import read_json
from zoo.files.open_tensors import OpenTensors
from zoo.files.openers import open_stored
from zoo.files.pickle_file import read_pickle_header, refuse_pickle
from zoo.files.safetensors_file import read_header
from zoo.files.tensor_info import TensorInfo

WEIGHTS, PICKLE = "adapter_model.safetensors", "adapter_model.bin"


@dataclass(frozen=True)
class AdapterFolder:
    """What a folder of peft holds."""

    path: Path
    raw: dict[str, Any]  # adapter_config.json
    settings: AdapterSettings
    tensors: dict[str, TensorInfo]
    pairs: tuple[FactorPair, ...]
    whole: dict[str, TensorInfo]  # tensors that stand in the place of the base's, by transformers' names

    @property
    def nbytes(self) -> int:
        return sum(info.nbytes for info in self.tensors.values())

    @property
    def num_parameters(self) -> int:
        return sum(info.numel for info in self.tensors.values())

    @cached_property
    def is_pickle(self) -> bool:
        return any(info.file.name == PICKLE for info in self.tensors.values())

    def open(self) -> OpenTensors:
        """The tensors, read when asked for."""
        return open_stored(self.tensors, self.is_pickle)


def is_adapter(path: Path) -> bool:
    """Whether a folder holds an adapter and no model."""
    return (path / ADAPTER).is_file() and not (path / "config.json").exists()


def open_adapter(path: str | Path, *, allow_pickle: bool = False) -> AdapterFolder:
    """Read settings and headers. Raises CheckpointError for what is missing, unknown or does not belong together."""
    path = Path(path)
    if not (path / ADAPTER).is_file():
        why = "it is a folder that peft's save_pretrained or zoo wrote"
        raise CheckpointError(path, "", f"has no {ADAPTER}: it is not an adapter", why=why)
    raw = read_json(path / ADAPTER)
    settings = read_settings(raw, str(path / ADAPTER))
    file = path / WEIGHTS
    if file.is_file():
        tensors = read_header(file).tensors
    elif (file := path / PICKLE).is_file():
        if not allow_pickle:
            raise refuse_pickle(file)
        tensors = read_pickle_header(file)
    else:
        raise CheckpointError(path, "", f"has no {WEIGHTS}")
    pairs, whole = pairs_in(tensors, str(file))
    if not pairs:
        raise CheckpointError(file, "", "holds no pair of lora_A and lora_B")
    return AdapterFolder(path, raw, settings, dict(tensors), tuple(pairs), whole)
