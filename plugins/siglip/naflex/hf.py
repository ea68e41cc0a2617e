"""SigLIP 2 for pictures of any size as Hugging Face stores it."""

from __future__ import annotations

from dataclasses import replace
from math import isqrt
from typing import Any

from zoo.errors import CheckpointError
from zoo.weights import ForeignConfig, write_keys

from ..config import SiglipVisionConfig
from ..hf import Spelt, dialect_of, models_of
from ..hf_towers import VISION_KEYS, read_activation, write_activation
from .config import Siglip2Config

KEYS = tuple(key for key in VISION_KEYS if key.ours != "image_size")


def read_vision(hf: ForeignConfig) -> SiglipVisionConfig:
    """A tower whose files count the positions of a square. Raises CheckpointError where they are none."""
    values = hf.read(SiglipVisionConfig, KEYS)
    count = hf.as_type(int, hf.get("num_patches", 256), "num_patches")
    if (side := isqrt(max(count, 0))) ** 2 != count:
        raise CheckpointError(hf.file, "num_patches", f"{count} positions are not those of a square")
    vision = SiglipVisionConfig(**values, activation=read_activation(hf))
    return replace(vision, image_size=side * vision.patch_size)


def write_vision(v: SiglipVisionConfig) -> dict[str, Any]:
    """The same, backwards."""
    return {**write_keys(v, KEYS), "num_patches": v.num_patches, **write_activation(v)}


SIGLIP2 = dialect_of(Spelt("siglip2", models_of("Siglip2", "siglip2"), Siglip2Config, read_vision, write_vision))
