"""The forms that values of `preprocessor_config.json` may have; apart from `processing` for its length."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from zoo.errors import CheckpointError, clean

EDGES, SIDES, SHORT = {"shortest_edge", "longest_edge"}, {"height", "width"}, {"shortest_edge"}
AREA = {"min_pixels", "max_pixels"}  # beside `size`, which then has nothing to say


def check_forms(values: Mapping[str, Any], kind: str, file: object) -> None:
    """Raise CheckpointError for a value that the processor `kind` would not take, or not as it is meant."""
    if values.get("do_center_crop") and kind != "CLIP":
        raise CheckpointError(file, "do_center_crop", f"zoo does not crop pictures for {kind}")
    for name, value in values.items():
        form = _form(name, kind, values)
        if form is not None and not form(value):
            raise CheckpointError(file, name, f"{clean(repr(value))} is not supported for {kind}")


def _form(name: str, kind: str, values: Mapping[str, Any]) -> Callable[[Any], bool] | None:
    if name == "size" and kind == "Qwen2VL":
        return None if values.keys() >= AREA else lambda v: _is_sized(v, EDGES)
    if name in ("size", "crop_size"):
        return lambda v: _is_count(v) or _is_sized(v, SIDES) or (name == "size" and _is_sized(v, SHORT))
    if name in ("image_mean", "image_std"):
        return lambda v: isinstance(v, list | tuple) and bool(v) and all(map(_is_number, v))
    if name == "resample":
        return lambda v: type(v) is int and 0 <= v <= 5
    if name in ("patch_size", "temporal_patch_size", "merge_size") or (name in AREA and kind == "Qwen2VL"):
        return _is_count
    if name == "rescale_factor":
        return _is_number
    return (lambda v: isinstance(v, bool)) if name.startswith("do_") else None


def _is_count(value: Any) -> bool:
    return type(value) is int and value > 0


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _is_sized(value: Any, names: set[str]) -> bool:
    return isinstance(value, Mapping) and value.keys() == names and all(map(_is_count, value.values()))
