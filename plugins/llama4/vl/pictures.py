"""How pictures enter Llama 4's prompts, as its released processor does it: tile by tile, and then the whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zoo.vision import Pictures, Spell, processing_of, tiles_of

from .config import Llama4VLConfig

WHOLE = "<|image|>"  # stands for a picture in a prompt, and before the tile that shows all of it
BESIDE, BELOW = "<|tile_x_separator|>", "<|tile_y_separator|>"  # between the tiles of a row, and behind each row


def read(c: Llama4VLConfig, images: Sequence[Any], settings: Mapping[str, Any] | None, spell: Spell) -> Pictures:
    """A marker per picture, which becomes the places of its tiles, row by row, and those of the whole."""
    side = c.vision.image_size
    default = {"image_processor_type": "Llama4ImageProcessor", "size": {"height": side, "width": side}}
    how = processing_of(settings, default, height=side, width=side)
    pixels, grids = tiles_of(images, how)
    tile = spell(c.image_token_id) * c.vision.num_states
    start, end = spell(c.image_start_id), spell(c.image_end_id)
    spans = []
    for rows, columns in grids:
        row = BESIDE.join([tile] * columns) + BELOW
        parts = row * rows if rows * columns > 1 else ""
        spans.append(f"{start}{parts}{WHOLE}{tile}{end}")
    return Pictures(WHOLE, spans, [WHOLE] * len(images), {"pixels": pixels}, words=(WHOLE, BESIDE, BELOW))
