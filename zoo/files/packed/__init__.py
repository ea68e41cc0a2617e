"""Packed weights, a module for each owner of a format: views of files that are read exactly, or refused by name.

`recognise` says what a checkpoint's config and headers hold; `view` shows it as the unpacked checkpoint. No torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from zoo.errors import CheckpointError, clean
from zoo.files.json_file import read_json
from zoo.files.packed import (
    auto_round,
    awq,
    bitsandbytes,
    chatglm,
    compressed_tensors,
    fp8,
    gptq,
    hqq,
    mlx,
    modelopt,
    mxfp4,
    quanto,
    torchao,
)
from zoo.files.packed.keys import HINT, PackingKeys
from zoo.files.packed.record import Encoding, PackedMatrix, Packing
from zoo.files.tensor_info import TensorInfo

__all__ = ["Encoding", "PackedMatrix", "Packing", "recognise"]

KEY = "quantization_config"
CODES = frozenset("int8 uint8 int32 uint32 float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz".split())
Reader = Callable[[PackingKeys, Mapping[str, Any], Mapping[str, TensorInfo]], Packing]
METHODS: dict[str, Reader] = {
    "auto-round": auto_round.recognise,
    "awq": awq.recognise,
    "bitsandbytes": bitsandbytes.recognise,
    "chatglm": chatglm.recognise,
    "compressed-tensors": compressed_tensors.recognise,
    "fbgemm_fp8": fp8.recognise,
    "fp8": fp8.recognise,
    "gptq": gptq.recognise,
    "hqq": hqq.recognise,
    "intel/auto-round": auto_round.recognise,
    "mlx": mlx.recognise,
    "modelopt": modelopt.recognise,
    "modelopt_fp4": modelopt.recognise,
    "mxfp4": mxfp4.recognise,
    "quanto": quanto.recognise,
    "torchao": torchao.recognise,
}


def recognise(config: Mapping[str, Any], file: Path, tensors: Mapping[str, TensorInfo]) -> Packing | None:
    """How the weights `tensors` are packed by the word of `config`, read from `file`; None where they are not.

    Where config.json says nothing, the file of an owner that stands beside it does. Raises CheckpointError for a format
    that zoo does not read, and for parts that do not fit together.
    """
    found = _said(config, file)
    if found is None:
        return None
    keys, method, places = found
    if method not in METHODS:
        what = f"it says that the weights are packed by {clean(repr(method))}, which zoo cannot unpack"
        raise keys.refuse("quant_method", what, hint=HINT)
    if keys.file != file and not any(info.dtype in CODES for info in tensors.values()):
        return None  # it speaks of other weights than those here
    packing = METHODS[method](keys, {**config, **_settings(config, places[0])}, tensors)
    if places != [""]:  # a model for pictures has them beside its text model's sizes, or there and at the top
        packing = replace(packing, keys=frozenset(_joined(p, key) for p in places for key in _settings(config, p)))
    for name, info in packing.shown(tensors).items():
        if name.endswith(".weight") and info.dtype in CODES and name not in packing.matrices:
            raise CheckpointError(info.file, name, f"is {info.dtype}, and nothing in the files unpacks it", hint=HINT)
    if not packing.matrices:
        what = f"it says that the weights are packed by {clean(method)}, but no tensor of the files is"
        hint = f"if they were unpacked since, remove {keys.name or chatglm.KEYS[0]} from {keys.file.name}"
        raise keys.refuse("quant_method" if keys.name else chatglm.KEYS[0], what, hint=hint)
    return packing if keys.file == file else replace(packing, keys=frozenset())


# Files that tools wrote before they wrote into config.json: the key within that holds the settings, and the method.
BESIDE = {
    "quantize_config.json": ("", "gptq"),
    "quant_config.json": ("", "awq"),
    "hf_quant_config.json": ("quantization", "modelopt"),
    "quanto_qmap.json": ("", "quanto"),
}


def _said(config: Mapping[str, Any], file: Path) -> tuple[PackingKeys, str, list[str]] | None:
    """The keys that say how weights are packed, by which method, and the groups that hold them ("": the top).

    None where nothing says so. Raises CheckpointError for a config that says two things.
    """
    groups = [name for name, value in config.items() if name.endswith("_config") and isinstance(value, dict)]
    found = {p: said for p in ("", *groups) if p != KEY and (said := _said_in(_group(config, p), file))}
    if not found:
        beside = _said_beside(file)
        return None if beside is None else (*beside, [""])
    (place, (keys, method)), *others = found.items()
    if differing := [p for p, (other, _) in others if other.raw != keys.raw]:
        what = f"is not the same as {_joined(place, keys.name)}: which of them is right?"
        raise CheckpointError(
            file, _joined(differing[0], found[differing[0]][0].name), what, hint="remove one of the two"
        )
    return replace(keys, name=_joined(place, keys.name)), method, [*found]


def _group(config: Mapping[str, Any], place: str) -> Mapping[str, Any]:
    return config[place] if place else config


def _settings(config: Mapping[str, Any], place: str) -> dict[str, Any]:
    """What a group of the config says of how weights are packed."""
    return {key: value for key, value in _group(config, place).items() if key in (KEY, mlx.KEY)}


def _joined(place: str, key: str) -> str:
    return f"{place}.{key}" if place and key else key


def _said_in(config: Mapping[str, Any], file: Path) -> tuple[PackingKeys, str] | None:
    if (found := mlx.settings_in(config)) is not None:
        return PackingKeys(found, file, mlx.KEY if mlx.KEY in config else KEY), "mlx"
    if isinstance(found := config.get(KEY), dict) and found:
        method = found.get("quant_method")
        if method is None and any(found.get(key) is True for key in ("load_in_4bit", "load_in_8bit")):
            method = "bitsandbytes"  # which wrote no name before 2024
        return PackingKeys(found, file), str(method)
    if config.get("model_type") == "chatglm" and config.get(chatglm.KEYS[0]):
        return PackingKeys(config, file, ""), "chatglm"
    return None


def _said_beside(file: Path) -> tuple[PackingKeys, str] | None:
    for name, (key, method) in BESIDE.items():
        if (beside := file.parent / name).is_file():
            raw = read_json(beside)
            inner = raw.get(key) if key else raw
            if isinstance(inner, dict) and inner:
                return PackingKeys(inner, beside, key), str(inner.get("quant_method") or method)
    return None
