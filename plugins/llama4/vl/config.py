"""How a Llama 4 that reads images is configured; a family of its own beside the text decoder."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from zoo.anatomy import (
    MISSING,
    Anatomy,
    RopeConfig,
    check_sizes,
    describe_embeddings,
    describe_layers,
    multiple_of,
)
from zoo.errors import ConfigError

from ..config import Llama4Config


@dataclass
class TileTowerConfig:
    """A transformer over the patches of a tile, whose class token stands last and whose heads know row and column."""

    hidden_size: int = MISSING  # width of the residual stream; a multiple of num_heads
    num_layers: int = MISSING  # blocks in the stack
    num_heads: int = MISSING  # attention heads, each of hidden_size / num_heads channels, a multiple of 4
    image_size: int = 336  # pixels along the sides of a tile
    patch_size: int = 14  # pixels along the sides of a patch
    num_channels: int = 3  # colours
    merge_size: int = 2  # squares of so many patches along the sides become one state; divides the patches on a side
    output_size: int = 4096  # width of the two layers behind the tower
    theta: float = 10_000.0  # base of the rotary frequencies of rows and columns

    def check(self, path: str) -> None:
        """Raise ConfigError, in terms of `path`, where sizes do not fit each other."""
        names = "hidden_size num_layers num_heads image_size patch_size num_channels merge_size output_size".split()
        check_sizes(self, path, *names)
        multiple_of(f"{path}.hidden_size", self.hidden_size, f"{path}.num_heads", self.num_heads)
        multiple_of(f"{path}'s channels of a head", self.hidden_size // self.num_heads, "pairs for row and column", 4)
        multiple_of(f"{path}.image_size", self.image_size, f"{path}.patch_size", self.patch_size)
        multiple_of(
            "the patches on a side of a tile", self.image_size // self.patch_size, f"{path}.merge_size", self.merge_size
        )
        if not 1 < self.theta <= 1e12:
            raise ConfigError(f"{path}.theta={self.theta!r} is not above 1 and up to 1e12")

    @property
    def intermediate_size(self) -> int:
        """Width of the MLPs: as wide as the patches that become one state."""
        return self.hidden_size * self.merge_size**2

    @property
    def num_patches(self) -> int:
        """Patches of a tile."""
        return (self.image_size // self.patch_size) ** 2

    @property
    def num_states(self) -> int:
        """States that a tile becomes."""
        return self.num_patches // self.merge_size**2


@dataclass
class Llama4VLConfig(Llama4Config):
    """Llama 4 Scout and Maverick (Meta, 2025), with the tower for images."""

    family: str = "llama4_vl"
    image_token_id: int = 200092  # stands in the text for each state of a tile
    image_start_id: int = 200080  # stands before an image
    image_end_id: int = 200081  # stands after it
    vision: TileTowerConfig = field(default_factory=TileTowerConfig)  # what reads images

    def __post_init__(self) -> None:
        super().__post_init__()
        self.vision.check("model.vision")

    def anatomy(self) -> Anatomy:
        a, v = super().anatomy(), self.vision
        with a.off_the_text(), a.under("visual"):
            with a.under("tower"):
                describe_embeddings(a, v, has_class_token=True, has_bias=False)
                a.norm("embed_norm", v.hidden_size, bias=True, role="vision")
                describe_layers(a, v)
                a.norm("norm", v.hidden_size, bias=True, role="vision")
            a.linear("merge_proj", v.intermediate_size, v.output_size, "vision")
            a.linear("mix_proj", v.output_size, v.output_size, "vision")
            a.linear("proj", v.output_size, self.hidden_size, "vision")
        a.traits["vision"] = f"ViT {v.num_layers} × {v.hidden_size}, {v.num_states} tokens per tile"
        return a

    @classmethod
    def tiny(cls) -> Self:
        return cls(
            vocab_size=61, hidden_size=24, intermediate_size=40, num_layers=4, num_heads=6, num_kv_heads=2, head_dim=10,
            max_seq_len=64, norm_eps=3e-5, rope=RopeConfig(theta=1000.0), moe_intermediate_size=20, num_experts=5,
            experts_per_token=2, dense_layers=[1], nope_layers=[1, 3], chunk_size=5, chunked_layers=[0, 2, 3],
            temperature_scale=0.7, temperature_length=3,
            # the image's ids lie beyond the vocabulary: random text then holds none
            image_token_id=61, image_start_id=62, image_end_id=63,
            vision=TileTowerConfig(hidden_size=16, num_layers=2, num_heads=2, image_size=12, patch_size=3,
                                   output_size=18, theta=100.0),
        )  # fmt: skip
