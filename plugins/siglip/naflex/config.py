"""How SigLIP 2 for pictures of any size is configured, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from zoo.anatomy import Anatomy, multiple_of

from ..config import SiglipConfig, SiglipVisionConfig


@dataclass
class Siglip2Config(SiglipConfig):
    """SigLIP 2 (arXiv:2502.14786) of NaFlex, or one of its towers.

    `vision.image_size` is the side of the square whose positions are learned; those of any picture are made of them.
    """

    family: str = "siglip2"

    def __post_init__(self) -> None:
        super().__post_init__()
        if (v := self.vision) is not None:
            multiple_of("model.vision.image_size", v.image_size, "model.vision.patch_size", v.patch_size)

    def describe_embeddings(self, a: Anatomy, v: SiglipVisionConfig) -> None:
        with a.under("embed"):
            a.linear("patches", v.num_channels * v.patch_size**2, v.hidden_size, "vision", bias=True)
            a.embedding("positions", v.num_patches, v.hidden_size, role="vision")

    @classmethod
    def tiny(cls) -> Self:
        one = SiglipConfig.tiny()
        assert one.vision is not None
        return cls(text=one.text, vision=replace(one.vision, image_size=12))
