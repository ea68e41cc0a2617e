"""Packed weights, a module for each owner of a format: views of files that are read exactly, or refused by name.

`recognise` says what a checkpoint's config and headers hold; `view` shows it as the unpacked checkpoint. No torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from zoo.errors import clean
from zoo.files.packed import awq, bitsandbytes, compressed_tensors, fp8, gptq
from zoo.files.packed.keys import HINT, PackingKeys
from zoo.files.packed.record import Encoding, PackedMatrix, Packing
from zoo.files.tensor_info import TensorInfo

__all__ = ["Encoding", "PackedMatrix", "Packing", "recognise"]

KEY = "quantization_config"
Reader = Callable[[PackingKeys, Mapping[str, Any], Mapping[str, TensorInfo]], Packing]
METHODS: dict[str, Reader] = {
    "awq": awq.recognise,
    "bitsandbytes": bitsandbytes.recognise,
    "compressed-tensors": compressed_tensors.recognise,
    "fp8": fp8.recognise,
    "gptq": gptq.recognise,
}


def recognise(config: Mapping[str, Any], file: Path, tensors: Mapping[str, TensorInfo]) -> Packing | None:
    """How the weights `tensors` are packed by the word of `config`, read from `file`; None where they are not.

    Raises CheckpointError for a format that zoo does not read, and for parts that do not fit together.
    """
    found = config.get(KEY)
    if not isinstance(found, dict) or not found:
        return None
    keys = PackingKeys(found, file)
    method = found.get("quant_method")
    if method is None and any(found.get(key) is True for key in ("load_in_4bit", "load_in_8bit")):
        method = "bitsandbytes"  # which wrote no name before 2024
    if method not in METHODS:
        raise keys.refuse(
            "quant_method",
            f"it says that the weights are packed by {clean(repr(method))}, which zoo cannot unpack",
            hint=HINT,
        )
    packing = METHODS[method](keys, config, tensors)
    if not packing.matrices:
        hint = f"if they were unpacked since, remove {KEY} from {file.name}"
        raise keys.refuse("quant_method", f"{clean(method)}, but no tensor of the files is packed so", hint=hint)
    return packing
