"""How pictures enter Gemma 3's prompts, as its released processor does it, without cutting them up (pan and scan)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zoo.vision import Pictures, Spell, pixels_of, processing_of

from .config import Gemma3VLConfig


def read(c: Gemma3VLConfig, images: Sequence[Any], settings: Mapping[str, Any] | None, spell: Spell) -> Pictures:
    """A start token per picture, which becomes `model.tokens_per_image` places between line breaks."""
    side = c.vision.image_size
    default = {"image_processor_type": "Gemma3ImageProcessor", "size": {"height": side, "width": side}}
    how = processing_of(settings, default, height=side, width=side)
    start, end = spell(c.image_start_id), spell(c.image_end_id)
    span = f"\n\n{start}{spell(c.image_token_id) * c.tokens_per_image}{end}\n\n"
    count = len(images)
    return Pictures(start, [span] * count, [start] * count, {"pixels": pixels_of(images, how)})
