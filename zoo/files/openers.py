"""How the tensors of each kind of file are opened: functions that a pickle can hold, as a model's ledger does."""

from __future__ import annotations

from collections.abc import Callable

from zoo.files.gguf_file import GGUFReader
from zoo.files.open_tensors import OpenTensors
from zoo.files.packed import Packing
from zoo.files.packed.view import Unpacking
from zoo.files.pickle_file import PickleReader
from zoo.files.safetensors_file import SafetensorsReader
from zoo.files.tensor_info import TensorInfo


def open_stored(stored: dict[str, TensorInfo], is_pickle: bool) -> OpenTensors:
    """The tensors as they are in files of safetensors, or in pickles."""
    reader = (PickleReader if is_pickle else SafetensorsReader)(stored)
    return OpenTensors(stored, reader, reader.close)


def open_packed(opener: Callable[[], OpenTensors], shown: dict[str, TensorInfo], packing: Packing) -> OpenTensors:
    """What `opener` opens, with packed weights as the numbers that they stand for."""
    opened = opener()
    return OpenTensors(shown, Unpacking(opened, packing), opened.close)


def open_quantised(tensors: dict[str, TensorInfo]) -> OpenTensors:
    """The tensors of GGUF files."""
    reader = GGUFReader(tensors)
    return OpenTensors(tensors, reader, reader.close)
