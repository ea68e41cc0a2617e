"""Images and the frames of videos as the tensors that models read. Needs Pillow: the extra `vision`."""

from zoo.vision.films import Cutting, Moving, cutting_of
from zoo.vision.flexible import flexible_patches_of, pooled_patches_of
from zoo.vision.images import read_image
from zoo.vision.processing import Processing, patches_of, pixels_of, smart_size
from zoo.vision.prompts import Pictures, Spell, processing_of
from zoo.vision.tiles import tiles_of

__all__ = [
    "Cutting", "Moving", "Pictures", "Processing", "Spell", "cutting_of", "flexible_patches_of", "patches_of",
    "pixels_of", "pooled_patches_of", "processing_of", "read_image", "smart_size", "tiles_of",
]  # fmt: skip
