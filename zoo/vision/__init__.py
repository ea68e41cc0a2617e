"""Images and the frames of videos as the tensors that models read. Needs Pillow: the extra `vision`."""

from zoo.vision.images import read_image
from zoo.vision.processing import Processing, patches_of, pixels_of, smart_size
from zoo.vision.prompts import Pictures, Spell, processing_of

__all__ = [
    "Pictures", "Processing", "Spell", "patches_of", "pixels_of", "processing_of", "read_image", "smart_size",
]  # fmt: skip
