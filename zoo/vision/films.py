"""From videos to patches, as `video_preprocessor_config.json` says and transformers' video processors do it.

Frames are resized by torch, in bytes, and not by Pillow as pictures are: so do the processors of videos. They are
chosen as their `sample_frames` does, whatever `do_sample_frames` says: a file is never read whole.

Shapes: F frames, C channels, H and W pixels, P patches.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.errors import CheckpointError, UsageError, clean
from zoo.files.json_file import read_json
from zoo.vision.forms import TORCH_MODES, check_choice
from zoo.vision.kinds import CLIP_MEAN, CLIP_STD, HALF
from zoo.vision.processing import Processing, cut_patches, smart_size
from zoo.vision.prompts import processor_group
from zoo.vision.videos import Film, read_frames

FPS = 2.0  # frames that are taken of a second where nothing says how many: the Qwen team's own code
KINDS: dict[str, dict[str, Any]] = {  # what each processor takes where the file is silent
    "Qwen2VL": {
        "size": {"shortest_edge": 128 * 28 * 28, "longest_edge": 768 * 28 * 28}, "patch_size": 14,
        "image_mean": CLIP_MEAN, "image_std": CLIP_STD, "max_video_tokens": 128_000,
    },
    "Qwen3VL": {
        "size": {"shortest_edge": 128 * 32 * 32, "longest_edge": 768 * 32 * 32}, "patch_size": 16, "image_mean": HALF,
        "image_std": HALF, "max_video_tokens": 768,
    },
}  # fmt: skip
COUNTS = ("num_frames", "min_frames", "max_frames", "max_video_tokens")
OURS = ("fps", "cap_pixels_per_frame", *COUNTS)
INERT = ("video_processor_type", "do_sample_frames", "return_metadata", "video_metadata", "max_duration",
         "max_image_size", "use_token_compression")  # fmt: skip


@dataclass(frozen=True)
class Cutting:
    """Which frames of a video are taken, and how these become patches."""

    kind: str  # Qwen2VL | Qwen3VL: bounds on the pixels of a frame, or of the whole video
    how: Processing
    fps: float | None = FPS  # frames that are taken of a second
    num_frames: int | None = None  # frames that are taken in all; goes before fps
    min_frames: int = 4
    max_frames: int = 768
    max_video_tokens: int = 128_000  # of the whole video, or with Qwen3VL of a frame, where pixels are capped
    is_capped: bool = True  # whether frames share that many tokens, as in the Qwen team's own code

    @classmethod
    def of(cls, raw: Mapping[str, Any], kind: str, file: object = "video_preprocessor_config.json") -> Cutting:
        """What a file says. Raises CheckpointError for a processor, a key or a value that is not known."""
        named = raw.get("video_processor_type", f"{kind}VideoProcessor")
        if named != f"{kind}VideoProcessor":
            raise CheckpointError(file, "video_processor_type", f"{clean(repr(named))} is not {kind}VideoProcessor")
        given = {name: raw[name] for name in OURS if raw.get(name) is not None}
        check_choice(raw, given, kind, file)
        values = {"max_video_tokens": KINDS[kind]["max_video_tokens"], **given}
        is_capped = values.pop("cap_pixels_per_frame", True)
        usual = {name: value for name, value in KINDS[kind].items() if name not in OURS}
        rest = {name: value for name, value in raw.items() if name not in (*OURS, *INERT)}
        of_images = {"image_processor_type": "Qwen2VLImageProcessor"}
        how = Processing.of({**usual, **rest, **of_images}, file)
        if how.resample not in TORCH_MODES:
            raise CheckpointError(file, "resample", f"{how.resample} is not supported for videos, only 2 and 3 are")
        return cls(kind=kind, how=how, is_capped=is_capped, **values)

    def choose(self, film: Film) -> list[int]:
        """The frames that are taken of a video, of which there is one at least."""
        return self._linear(film) if self.kind == "Qwen3VL" else self._stepped(film)

    def size(self, num_frames: int, height: int, width: int) -> tuple[int, int]:
        """The sides that so many frames are resized to. Raises UsageError for frames too long and narrow."""
        how, factor = self.how, self.how.patch_size * self.how.merge_size
        least, most = how.min_pixels or 1, how.max_pixels or 1
        budget, floor = self.max_video_tokens * factor**2, int(least * 1.05)
        if self.kind != "Qwen3VL":
            if self.is_capped:
                share = int(budget * 0.9) * how.temporal_patch_size // num_frames
                most = max(min(most, share), floor)
            return smart_size(height, width, factor, least, most)
        if self.is_capped:
            most = max(min(budget, most // num_frames), floor) * num_frames
        return _size_over_time(num_frames, height, width, factor, how.temporal_patch_size, (least, most))

    def patches(self, path: str | Path) -> Moving:
        """The video of a file as patches. Raises CheckpointError as read_frames does."""
        film, chosen, frames = read_frames(path, self.choose)
        if len(chosen) < self.how.temporal_patch_size and self.kind == "Qwen3VL":
            chosen, frames = chosen * 2, iter([*frames] * 2)  # a single frame, of which a patch in time is made
        sides, factor = (film.height, film.width), self.how.patch_size * self.how.merge_size
        if self.how.is_resized:
            sides = self.size(len(chosen), *sides)
        elif any(side % factor for side in sides):
            raise UsageError(f"frames of {sides[1]} x {sides[0]} pixels, not resized, are no whole patches of {factor}")
        patches, grid = cut_patches([self._numbers(frame, sides) for frame in frames], self.how)
        return Moving(patches, grid, chosen, film)

    def _stepped(self, film: Film) -> list[int]:
        """Every so manieth frame, a multiple of what a patch takes in time: Qwen2-VL's."""
        step, total = self.how.temporal_patch_size, film.num_frames
        if self.num_frames is not None:
            count = round(self.num_frames / step) * step
        else:
            most = math.floor(min(self.max_frames, total) / step) * step
            wanted = min(max(total / film.fps * (self.fps or FPS), self.min_frames), most, total)
            count = math.floor(wanted / step) * step
        if count > total:
            raise UsageError(f"num_frames={count}: the video has {total} frames")
        return torch.arange(0, total, total / max(1, count)).int().tolist()

    def _linear(self, film: Film) -> list[int]:
        """Frames at even distances from the first to the last: Qwen3-VL's."""
        total, count = film.num_frames, self.num_frames
        if count is None:
            count = int(total / film.fps * (self.fps or FPS))
            count = min(max(count, self.min_frames), self.max_frames, total)
        if count > total:
            raise UsageError(f"num_frames={count}: the video has {total} frames")
        return np.linspace(0, total - 1, count).round().astype(int).tolist()

    def _numbers(self, frame: np.ndarray, sides: tuple[int, int]) -> np.ndarray:
        """One frame [H, W, 3] as numbers [C, H, W]; scaled and normed at once, in float32, as the reference does."""
        x = torch.from_numpy(frame).permute(2, 0, 1)[None]
        if x.shape[-2:] != sides:
            x = F.interpolate(x, sides, mode=TORCH_MODES[self.how.resample], antialias=True)
        how, x = self.how, x[0].float()
        if how.mean is not None and how.std is not None:
            mean, std = (torch.tensor(part)[:, None, None] for part in (how.mean, how.std))
            if how.scale is not None:
                mean, std = mean * (1.0 / how.scale), std * (1.0 / how.scale)
            x = x.sub(mean).div(std)
        elif how.scale is not None:
            x = x * how.scale
        return x.numpy()


@dataclass(frozen=True)
class Moving:
    """A video as patches [P, ...], and their grid: time, rows and columns."""

    patches: Tensor
    grid: list[int]
    indices: list[int]  # of the frames that were taken, as they are numbered in the file
    film: Film

    def seconds_per_grid(self, frames_per_grid: int) -> float:
        """How long the patches of one step of the grid last."""
        return frames_per_grid / (len(self.indices) / self.film.num_frames * self.film.fps)

    def times(self, frames_per_grid: int) -> list[float]:
        """The time of each step of the grid in seconds: the middle between its first and its last frame."""
        indices = self.indices + self.indices[-1:] * (-len(self.indices) % frames_per_grid)
        at = [index / self.film.fps for index in indices]
        return [(at[i] + at[i + frames_per_grid - 1]) / 2 for i in range(0, len(at), frames_per_grid)]


def video_settings_of(folder: Path) -> Mapping[str, Any] | None:
    """How videos become patches: where transformers looks for it, the settings of pictures being the last place."""
    if (inner := processor_group(folder, "video_processor")) is not None:
        return inner
    if (file := folder / "video_preprocessor_config.json").is_file():
        return read_json(file)
    if (file := folder / "preprocessor_config.json").is_file():
        return {name: value for name, value in read_json(file).items() if name != "image_processor_type"}
    return None


def cutting_of(settings: Mapping[str, Any] | None, kind: str, default: Mapping[str, Any], **sizes: int) -> Cutting:
    """What the file asks for, else the default; `sizes` are those that the model is made for."""
    cutting = Cutting.of(default if settings is None else settings, kind)
    for name, value in sizes.items():
        if (found := getattr(cutting.how, name)) != value:
            raise CheckpointError("the video settings", name, f"{found}, but the model is made for {value}")
    return cutting


def _size_over_time(
    num_frames: int, height: int, width: int, factor: int, in_time: int, bounds: tuple[int, int]
) -> tuple[int, int]:
    """As smart_size, of bounds on the pixels of all frames together; tiny frames are first made one patch wide."""
    if height < factor or width < factor:
        scale = max(factor / height, factor / width)
        height, width = int(height * scale), int(width * scale)
    smart_size(height, width, factor, 1, height * width * 4)  # too long and narrow?
    rows, columns = (round(side / factor) * factor for side in (height, width))
    pixels, (least, most) = round(num_frames / in_time) * in_time * rows * columns, bounds
    if pixels > most:
        shrink = math.sqrt(num_frames * height * width / most)
        rows, columns = (max(factor, math.floor(side / shrink / factor) * factor) for side in (height, width))
    elif pixels < least:
        stretch = math.sqrt(least / (num_frames * height * width))
        rows, columns = (math.ceil(side * stretch / factor) * factor for side in (height, width))
    return rows, columns
