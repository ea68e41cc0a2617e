"""The forms that values of `preprocessor_config.json` may have; apart from `processing` for its length."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from zoo.errors import CheckpointError, clean

EDGES, SIDES, SHORT = {"shortest_edge", "longest_edge"}, {"height", "width"}, {"shortest_edge"}
CROPPING = ("CLIP", "Bit")  # the kinds that keep the middle of a picture
AREA = {"min_pixels", "max_pixels"}  # beside `size`, which then has nothing to say
MOST_SIDE, MOST_AREA = 1 << 14, 1 << 28  # pixels that anything is made larger to: beyond, memory ends
MOST_TILES = 1 << 12  # of a picture
CHANNELS = 3
TORCH_MODES = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers of what torch resizes as well
SOFT_TOKENS = (70, 140, 280, 560, 1120)  # at most of a picture, for Gemma 4: it was trained with these

STEPS = {  # what each step reads, which is there or the step is not taken
    "do_resize": ("size", "resample", "max_patches"),
    "do_center_crop": ("crop_size",),
    "do_rescale": ("rescale_factor",),
    "do_normalize": ("image_mean", "image_std"),
}
COUNTS = {  # what each kind reads whatever its steps
    "Qwen2VL": ("patch_size", "temporal_patch_size", "merge_size"),
    "Siglip2": ("patch_size", "max_num_patches"),
    "Gemma4": ("patch_size", "pooling_kernel_size", "max_soft_tokens"),
}


def check_nulls(raw: Mapping[str, Any], kind: str, file: object, usual: Mapping[str, Any]) -> None:
    """Raise CheckpointError for a null that a step would read: no default stands for it, as one does for no key.

    `usual` is what the processor takes where the file is silent, steps among it.
    """
    for name in COUNTS.get(kind, ()):
        if name in raw and raw[name] is None:
            raise CheckpointError(file, name, "null is not supported", why="transformers takes no default for it")
    for step, names in STEPS.items():
        is_taken = raw.get(step, usual.get(step, True)) and (step != "do_center_crop" or kind in CROPPING)
        nulls = [name for name in names if is_taken and name in raw and raw[name] is None]
        if nulls and not (nulls[0] == "size" and raw.keys() >= AREA):
            what = f"null is not supported where {step} is true"
            raise CheckpointError(file, nulls[0], what, why="transformers takes no default for it")


def check_forms(values: Mapping[str, Any], kind: str, file: object) -> None:
    """Raise CheckpointError for a value that the processor `kind` would not take, or not as it is meant."""
    if values.get("do_center_crop") and kind not in CROPPING:
        raise CheckpointError(file, "do_center_crop", f"zoo does not crop pictures for {kind}")
    for name, value in values.items():
        form = _form(name, kind, values)
        if form is not None and not form(value):
            raise CheckpointError(file, name, f"{clean(repr(value))} is not supported for {kind}")


def check_tiles(size: Mapping[str, Any], does: Mapping[str, bool], file: object) -> None:
    """Raise CheckpointError where transformers' processor makes no tiles of pictures, or more than memory holds."""
    if not does["resize"]:
        raise CheckpointError(file, "do_resize", "only true is supported, for tiles have one size")
    if does["normalize"] and not does["rescale"]:
        raise CheckpointError(file, "do_rescale", "only true is supported where do_normalize is true")
    if (found := size.get("height")) is None or found != size.get("width"):
        raise CheckpointError(file, "size", "tiles are squares, of one height and width")
    if size["max_tiles"] * found**2 > MOST_AREA:
        what = f"{size['max_tiles']} tiles of {found} x {found} pixels"
        raise CheckpointError(file, "max_patches", what, why=f"zoo makes up to {MOST_AREA:,} pixels of a picture")


def check_choice(raw: Mapping[str, Any], given: Mapping[str, Any], kind: str, file: object) -> None:
    """Raise CheckpointError for what no frames of a video can be chosen by, or not as transformers chooses them.

    `given` are the keys of `raw` that say which frames are taken and how many pixels they share.
    """
    for name, value in given.items():
        if not _is_of_video(name, value):
            raise CheckpointError(file, name, f"{clean(repr(value))} is not supported")
    if "num_frames" in given and "fps" in given:
        raise CheckpointError(file, "fps", "it stands beside num_frames, and one of them must be null")
    if kind != "Qwen3VL":
        return
    if "num_frames" not in given and "fps" in raw and raw["fps"] is None:
        raise CheckpointError(file, "fps", "null means every frame, and zoo does not read a whole video")
    for name in sorted(AREA):
        if raw.get(name) is not None:
            why = "transformers passes over it for these videos, whose bounds stand in size"
            raise CheckpointError(file, name, f"{clean(repr(raw[name]))} is not supported", why=why)


def _is_of_video(name: str, value: Any) -> bool:
    if name == "cap_pixels_per_frame":
        return isinstance(value, bool)
    return _is_number(value) and value > 0 if name == "fps" else _is_count(value)


def _form(name: str, kind: str, values: Mapping[str, Any]) -> Callable[[Any], bool] | None:
    if name == "size" and kind == "Qwen2VL":
        return None if values.keys() >= AREA else lambda v: _is_sized(v, EDGES) and v["shortest_edge"] <= MOST_AREA
    if name in ("size", "crop_size"):
        return lambda v: _is_side(v) or _is_sides(v, SIDES) or (name == "size" and _is_sides(v, SHORT))
    if name in ("image_mean", "image_std"):
        return lambda v: _is_per_channel(v) and (name == "image_mean" or all(v))
    if name == "resample":
        return lambda v: type(v) is int and (v in TORCH_MODES if kind == "Llama4" else 0 <= v <= 5)
    if name == "min_pixels" and kind == "Qwen2VL":
        return lambda v: _is_count(v) and v <= MOST_AREA
    if name == "max_soft_tokens" and kind == "Gemma4":
        return lambda v: type(v) is int and v in SOFT_TOKENS
    if name in ("patch_size", "temporal_patch_size", "merge_size", "max_num_patches", "pooling_kernel_size") or (
        name in AREA and kind == "Qwen2VL"
    ):
        return _is_count
    if name == "max_patches":
        return lambda v: _is_count(v) and v <= MOST_TILES
    if name == "rescale_factor":
        return lambda v: _is_number(v) and v != 0
    return (lambda v: isinstance(v, bool)) if name.startswith(("do_", "resize_to", "default_to")) else None


def _is_count(value: Any) -> bool:
    return type(value) is int and value > 0


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_per_channel(value: Any) -> bool:
    """Whether it is a number for each of the three colours, or one for all."""
    return isinstance(value, list | tuple) and len(value) in (1, CHANNELS) and all(map(_is_number, value))


def _is_side(value: Any) -> bool:
    return _is_count(value) and value <= MOST_SIDE


def _is_sides(value: Any, names: set[str]) -> bool:
    return _is_sized(value, names) and all(map(_is_side, value.values()))


def _is_sized(value: Any, names: set[str]) -> bool:
    return isinstance(value, Mapping) and value.keys() == names and all(map(_is_count, value.values()))
