"""How pictures enter Gemma 4's prompts, as its released processor does it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zoo.vision import Pictures, Spell, pooled_patches_of, processing_of

from .config import Gemma4VLConfig


def read(c: Gemma4VLConfig, images: Sequence[Any], settings: Mapping[str, Any] | None, spell: Spell) -> Pictures:
    """A token per picture, which becomes a start, a place for each square of patches, and an end."""
    sizes = {"patch_size": c.vision.patch_size, "merge_size": c.vision.pool_size}
    default = {
        "image_processor_type": "Gemma4ImageProcessor", "patch_size": c.vision.patch_size,
        "pooling_kernel_size": c.vision.pool_size,
    }  # fmt: skip
    patches, shapes = pooled_patches_of(images, processing_of(settings, default, **sizes))
    marker, start, end = spell(c.image_token_id), spell(c.image_start_id), spell(c.image_end_id)
    counts = [rows * columns // c.vision.pool_size**2 for rows, columns in shapes.tolist()]
    spans = [f"{start}{marker * count}{end}" for count in counts]
    return Pictures(marker, spans, [marker] * len(spans), {"pixels": patches, "shapes": shapes})
