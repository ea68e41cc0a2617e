"""How pictures and videos enter the prompts of Qwen-VL to Qwen3-VL, as their released processors do it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from zoo.errors import UsageError
from zoo.vision import Pictures, Processing, Spell, cutting_of, patches_of, pixels_of, processing_of

from .config import Qwen2VLConfig
from .v1.config import QwenVLConfig
from .vision import DeepVisionConfig, WindowedVisionConfig


def read(c: Qwen2VLConfig, images: Sequence[Any], settings: Mapping[str, Any] | None, spell: Spell) -> Pictures:
    """A placeholder per picture, which becomes as many as the tower gives tokens for a picture of its size."""
    v = c.vision
    sizes = {name: getattr(v, name) for name in ("patch_size", "temporal_patch_size", "merge_size")}
    usual = {"image_processor_type": "Qwen2VLImageProcessor", **sizes}
    if isinstance(v, DeepVisionConfig):
        usual |= {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
        usual |= {"size": {"shortest_edge": 256**2, "longest_edge": 4096**2}}
    how = processing_of(settings, usual, **sizes)
    patches, grid = patches_of(images, how)
    marker = spell(c.image_token_id)
    spans = [marker * (int(sides.prod()) // v.merge_size**2) for sides in grid]
    lead = f"{spell(c.vision_start_token_id)}{marker}{spell(c.vision_end_token_id)}"
    return Pictures(marker, spans, [lead] * len(spans), {"pixels": patches, "grid": grid})


def read_videos(c: Qwen2VLConfig, files: Sequence[Any], settings: Mapping[str, Any] | None, spell: Spell) -> Pictures:
    """Placeholders per video as for pictures; Qwen3-VL's frames stand one by one, each behind its time in words."""
    v = c.vision
    sizes = {name: getattr(v, name) for name in ("patch_size", "temporal_patch_size", "merge_size")}
    is_third = isinstance(v, DeepVisionConfig)
    cutting = cutting_of(settings, "Qwen3VL" if is_third else "Qwen2VL", sizes, **sizes)
    videos = [cutting.patches(file) for file in files]
    start, pad, end = (spell(i) for i in (c.vision_start_token_id, c.video_token_id, c.vision_end_token_id))
    inputs = {
        "video_pixels": torch.cat([video.patches for video in videos]),
        "video_grid": torch.tensor([video.grid for video in videos]),
    }
    lead = f"{start}{pad}{end}"
    if is_third:
        spans = [
            "".join(
                f"<{time:.1f} seconds>{start}{pad * (video.grid[1] * video.grid[2] // v.merge_size**2)}{end}"
                for time in video.times(v.temporal_patch_size)
            )
            for video in videos
        ]
        return Pictures(lead, spans, [lead] * len(spans), inputs)
    if isinstance(v, WindowedVisionConfig):
        inputs["seconds_per_grid"] = torch.tensor([video.seconds_per_grid(v.temporal_patch_size) for video in videos])
    spans = [pad * (math.prod(video.grid) // v.merge_size**2) for video in videos]
    return Pictures(pad, spans, [lead] * len(spans), inputs)


def read_v1(c: QwenVLConfig, images: Sequence[Any], settings: Mapping[str, Any] | None, spell: Spell) -> Pictures:
    """<img></img>, between which stand padding tokens as many as the queries; released prompts have a path there too.

    The model sees neither, but what the resampler makes of the picture.
    """
    v = c.vision
    if settings is not None:
        raise UsageError(
            "this folder has settings for pictures, which no released Qwen-VL model has; zoo does not support them"
        )
    start, end, pad = (spell(v.image_start_id + i) for i in range(3))
    marker, span = f"{start}{end}", f"{start}{pad * v.num_queries}{end}"
    leads = [f"Picture {i}: {marker}\n" for i in range(1, len(images) + 1)]
    pixels = pixels_of(images, Processing.square(v.image_size))
    return Pictures(marker, [span] * len(images), leads, {"pixels": pixels})
