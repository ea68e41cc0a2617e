"""Groups of keys within a foreign config (text_config, vision_config, ...), accounted for like the rest. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zoo.errors import CheckpointError, clean
from zoo.weights.foreign.config import ForeignConfig
from zoo.weights.foreign.inert import INERT


def group(hf: ForeignConfig, name: str) -> ForeignConfig:
    """The keys under `name`; those that nobody reads are refused together with `hf`'s own.

    Raises CheckpointError where `name` is missing or no group.
    """
    return _group(hf, name, hf[name])


def refined_group(hf: ForeignConfig, name: str, by: str) -> ForeignConfig:
    """The keys under `name`, and those under `by`, which CLIP's files repeat: both must say the same."""
    first, second = hf.get(name) or {}, hf.get(by) or {}
    if not isinstance(first, Mapping) or not isinstance(second, Mapping):
        return _group(hf, name, first if second == {} else second)
    for key, value in second.items():
        if key in first and key not in INERT and first[key] != value:
            raise CheckpointError(hf.file, f"{by}.{key}", f"{clean(repr(value))}, but {name} says {clean(first[key])}")
    return _group(hf, name, {**first, **second})


def tokens_of(hf: ForeignConfig, inner: ForeignConfig) -> dict[str, Any]:
    """dtype and special tokens, which may stand beside a group or in it; those beside it count."""
    found, held = hf.tokens(), inner.tokens()
    if hf.lacks_dtype and not inner.lacks_dtype:
        found["dtype"] = held["dtype"]
        hf.lacks_dtype = False
    return {name: held[name] if value in (None, []) else value for name, value in found.items()}


def accept_copies(hf: ForeignConfig, inner: ForeignConfig) -> None:
    """Let keys of `inner` stand beside it a second time, as some releases of transformers wrote them, if equal."""
    for key, value in inner.raw.items():
        if key in hf.raw and key not in INERT and key not in hf.used:
            if hf.raw[key] != value:
                found = f"{clean(repr(hf.raw[key]))}, but {clean(repr(value))} in the group"
                raise CheckpointError(hf.file, key, found)
            hf.used.add(key)


def _group(hf: ForeignConfig, name: str, raw: Any) -> ForeignConfig:
    if not isinstance(raw, Mapping):
        raise CheckpointError(hf.file, name, f"{clean(repr(raw))} is not a group of keys")
    inner = ForeignConfig(raw, f"{hf.file}: {name}", hf.tensors, name=name)
    inner.undone = frozenset(key.removeprefix(f"{name}.") for key in hf.undone if key.startswith(f"{name}."))
    inner.used |= inner.undone
    hf.groups.append(inner)
    return inner
