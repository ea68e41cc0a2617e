"""From pictures to numbers, as `preprocessor_config.json` says and transformers' Pillow processors do it, bit for bit.

Shapes: I images, C channels, H and W pixels, P patches.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from zoo.errors import CheckpointError, UsageError, clean, did_you_mean, some
from zoo.vision.forms import CROPPING, MOST_AREA, check_forms, check_nulls, check_tiles
from zoo.vision.images import centre, on_white
from zoo.vision.kinds import CLIP_MEAN, CLIP_STD, INERT, KINDS, SIZED, SUFFIXES

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_ASPECT = 200  # the longer side of a picture that is cut into patches over the shorter


@dataclass(frozen=True)
class Processing:
    """How pictures become pixels. Sizes are in pixels, `resample` is Pillow's number: 2 bilinear, 3 bicubic."""

    height: int | None = None  # of every picture; None: see shortest_edge, min_pixels
    width: int | None = None  # of every picture
    shortest_edge: int | None = None  # the shorter side, the longer in proportion
    crop: tuple[int, int] | None = None  # height and width of the middle that is kept
    min_pixels: int | None = None  # pictures of any size between these areas, for `patches_of`
    max_pixels: int | None = None
    max_patches: int | None = None  # pictures of any shape, of at most so many patches: see zoo.vision.flexible
    max_tiles: int | None = None  # pictures as tiles of height and width, at most so many, for `tiles_of`
    fills_canvas: bool = False  # whether tiles are filled, however small the picture
    resample: int = 3
    scale: float | None = 1 / 255  # factor on the bytes
    mean: tuple[float, ...] | None = CLIP_MEAN
    std: tuple[float, ...] | None = CLIP_STD
    is_resized: bool = True
    patch_size: int = 14
    temporal_patch_size: int = 2
    merge_size: int = 2

    @classmethod
    def of(cls, raw: Mapping[str, Any], file: object = "preprocessor_config.json") -> Processing:
        """What a file says. Raises CheckpointError for a processor, a key or a value that is not known."""
        named = str(raw.get("image_processor_type", raw.get("feature_extractor_type", "")))
        kind = next((named.removesuffix(s) for s in SUFFIXES if named.endswith(s)), named)
        if kind not in KINDS:
            raise CheckpointError(
                file, "image_processor_type", f"{clean(named)!r} is not known", why=did_you_mean(kind, KINDS)
            )
        values = {**KINDS[kind], **{k: v for k, v in raw.items() if v is not None}}
        check_forms(values, kind, file)
        check_nulls(raw, kind, file, KINDS[kind])
        size: Any = values.pop("size", {}) if kind in SIZED else {}
        crop = values.pop("crop_size", None)
        if isinstance(size, int):  # both sides, or the shorter one
            is_square = raw.get("default_to_square", kind not in (*CROPPING, "Siglip"))
            size = {"height": size, "width": size} if is_square else {"shortest_edge": size}
        if values.pop("do_pan_and_scan", False):
            raise CheckpointError(file, "do_pan_and_scan", "zoo shows a whole picture and cannot cut it into parts")
        does = {
            name: bool(values.pop(f"do_{name}", f"do_{name}" not in raw))  # null is no, absent is yes
            for name in ("resize", "rescale", "normalize", "center_crop", "convert_rgb")
        }
        known = {
            name: values.pop(name) for name in ("patch_size", "temporal_patch_size", "merge_size") if name in values
        }
        if kind == "Siglip2":
            size = {"max_patches": values.pop("max_num_patches")}
        if kind == "Llama4":
            size = {**size, "max_tiles": values.pop("max_patches"), "fills_canvas": values.pop("resize_to_max_canvas")}
            check_tiles(size, does, file)
        if kind == "Gemma4":
            known["merge_size"] = values.pop("pooling_kernel_size")
            size = {"max_patches": values.pop("max_soft_tokens") * known["merge_size"] ** 2}
        if kind == "Qwen2VL":
            size = {
                "min_pixels": raw.get("min_pixels") or size["shortest_edge"],
                "max_pixels": raw.get("max_pixels") or size["longest_edge"],
            }
        mean, std = tuple(values.pop("image_mean")), tuple(values.pop("image_std"))
        scale = values.pop("rescale_factor", 1 / 255)
        made = cls(
            **size, **known, resample=int(values.pop("resample")), is_resized=does["resize"],
            scale=scale if does["rescale"] else None,
            mean=mean if does["normalize"] else None, std=std if does["normalize"] else None,
            crop=_sides(crop) if crop is not None and does["center_crop"] and kind in CROPPING else None,
        )  # fmt: skip
        if unknown := sorted(values.keys() - INERT):
            more = f", and neither are {clean(some(unknown[1:]))}" if unknown[1:] else ""
            raise CheckpointError(file, unknown[0], f"the key is not known{more}")
        return made

    @classmethod
    def square(cls, side: int) -> Processing:
        """As the first Qwen-VL does: bicubically to a square, whatever the shape, with CLIP's mean and deviation."""
        return cls(height=side, width=side)


def pixels_of(images: Sequence[Image], how: Processing) -> Tensor:
    """Pictures as pixels [I, C, H, W], float32, for towers that read images of one size.

    Raises UsageError where the settings leave them in several sizes.
    """
    made = [torch.from_numpy(numbers_of(image, how)) for image in images]
    if len(sizes := {tuple(x.shape[1:]) for x in made}) > 1:
        found = " and ".join(f"{height} x {width}" for height, width in sorted(sizes)[:2])
        raise UsageError(f"these settings leave pictures in several sizes: {found} pixels")
    return torch.stack(made)


def patches_of(images: Sequence[Image], how: Processing, *, is_video: bool = False) -> tuple[Tensor, Tensor]:
    """Pictures as flattened patches [P, ...] and their grid [I, 3], for Qwen2-VL's tower.

    With `is_video` the pictures are the frames of one video, all of one size, and the grid has one row.
    Raises UsageError for frames of several sizes, and for pictures too long and narrow.
    """
    groups = [list(images)] if is_video else [[image] for image in images]
    cut = [cut_patches([numbers_of(frame, how) for frame in frames], how) for frames in groups]
    return torch.cat([patches for patches, _ in cut]), torch.tensor([sides for _, sides in cut])


def smart_size(height: int, width: int, factor: int, min_pixels: int, max_pixels: int) -> tuple[int, int]:
    """Sides that are multiples of `factor`, nearly in proportion, with an area between the bounds."""
    if max(height, width) > MOST_ASPECT * min(height, width):
        raise too_narrow(height, width, f"at most {MOST_ASPECT} to 1")
    rows, columns = round(height / factor) * factor, round(width / factor) * factor
    if rows * columns > max_pixels:
        shrink = math.sqrt(height * width / max_pixels)
        return tuple(max(factor, math.floor(x / shrink / factor) * factor) for x in (height, width))  # type: ignore[return-value]
    if rows * columns < min_pixels:
        stretch = math.sqrt(min_pixels / (height * width))
        return tuple(math.ceil(x * stretch / factor) * factor for x in (height, width))  # type: ignore[return-value]
    return rows, columns


def too_narrow(height: int, width: int, why: str) -> UsageError:
    """What is raised for a picture that no size of suits."""
    return UsageError(f"a picture of {height} x {width} pixels is too long and narrow", why=why)


def uncut(height: int, width: int) -> str:
    """In words, a picture of sides that nobody has chosen."""
    return f"a picture of {height} x {width} pixels, which do_resize=false leaves as it is,"


def numbers_of(image: Image, how: Processing) -> np.ndarray:
    """One picture as numbers [C, H, W]. Raises UsageError for settings that cut it into tiles."""
    if how.max_tiles is not None:
        raise UsageError("these settings for pictures cut them into tiles, which this model does not read")
    return _numbers(_resized(on_white(image), how), how)


def _resized(image: Image, how: Processing) -> Image:
    size = None
    if how.min_pixels is not None and how.max_pixels is not None:
        factor = how.patch_size * how.merge_size
        size = smart_size(image.height, image.width, factor, how.min_pixels, how.max_pixels)
    elif how.height is not None and how.width is not None:
        size = how.height, how.width
    elif how.shortest_edge is not None:
        short, long = sorted(image.size)
        longer = int(how.shortest_edge * long / short)
        if how.is_resized and longer * how.shortest_edge > MOST_AREA:
            raise too_narrow(image.height, image.width, f"with {how.shortest_edge} pixels across it has {longer} along")
        size = (longer, how.shortest_edge) if image.width <= image.height else (how.shortest_edge, longer)
    if size is not None and how.is_resized:
        image = image.resize((size[1], size[0]), resample=how.resample)
    return image if how.crop is None else centre(image, *how.crop)


def _numbers(image: Image, how: Processing) -> np.ndarray:
    """[C, H, W] in float32; the product in float64 and the rest in float32, in the reference's order."""
    x = np.asarray(image)
    x = x.astype(np.float32) if how.scale is None else (x.astype(np.float64) * how.scale).astype(np.float32)
    if how.mean is not None and how.std is not None:
        x = (x - np.array(how.mean, np.float32)) / np.array(how.std, np.float32)
    return np.ascontiguousarray(x.transpose(2, 0, 1))


def cut_patches(frames: list[np.ndarray], how: Processing) -> tuple[Tensor, list[int]]:
    """Frames as patches in the order of the tower; the last frame is repeated to fill the last patch in time."""
    if len({frame.shape for frame in frames}) != 1:
        raise UsageError("the frames of a video have different sizes, or there are none")
    frames = frames + frames[-1:] * (-len(frames) % how.temporal_patch_size)
    channels, height, width = frames[0].shape
    m, p = how.merge_size, how.patch_size
    if height % (m * p) or width % (m * p):
        raise UsageError(f"{uncut(height, width)} cannot be cut into squares of {m} x {m} patches of {p} pixels")
    sides = [len(frames) // how.temporal_patch_size, height // p, width // p]
    x = torch.from_numpy(np.stack(frames))
    x = x.reshape(sides[0], -1, channels, sides[1] // m, m, p, sides[2] // m, m, p)
    return x.permute(0, 3, 6, 4, 7, 2, 1, 5, 8).reshape(math.prod(sides), -1), sides


def _sides(size: Any) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size["height"], size["width"])
