"""How a Gemma 3 that reads images is configured; a family of its own beside the text decoders, hence a further file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from zoo.anatomy import Anatomy, RopeConfig, TowerConfig, at_least, describe_embeddings, describe_layers, multiple_of
from zoo.errors import ConfigError

from ..config import GemmaConfig


@dataclass
class Gemma3VLConfig(GemmaConfig):
    """Gemma 3 (arXiv:2503.19786) of 4, 12 and 27 billion parameters, with its SigLIP tower (arXiv:2303.15343)."""

    family: str = "gemma3_vl"
    generation: int = 3  # 3
    tokens_per_image: int = 256  # states that an image becomes; a square, whose side divides that of the patches
    image_token_id: int = 262144  # stands in the text for each of them
    image_start_id: int = 255999  # stands before them
    image_end_id: int = 256000  # stands after them
    vision: TowerConfig = field(default_factory=TowerConfig)  # what reads images

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, tokens_per_image=self.tokens_per_image)
        if self.generation != 3 or self.final_softcap is not None:
            found = f"model.generation={self.generation} and model.final_softcap={self.final_softcap}"
            raise ConfigError(f"{found} are not supported by this family, only 3 and None are")
        v = self.vision
        v.check("model.vision")
        multiple_of("model.vision.image_size", v.image_size, "model.vision.patch_size", v.patch_size)
        if self.side**2 != self.tokens_per_image:
            raise ConfigError(f"model.tokens_per_image={self.tokens_per_image} is not a square number")
        multiple_of(
            "the patches on a side of an image", v.image_size // v.patch_size, "its tokens on a side", self.side
        )

    @property
    def side(self) -> int:
        """The square root of tokens_per_image."""
        return round(self.tokens_per_image**0.5)

    def anatomy(self) -> Anatomy:
        a, v = super().anatomy(), self.vision
        with a.off_the_text(), a.under("visual"):
            with a.under("tower"):
                describe_embeddings(a, v, has_class_token=False, has_bias=True)
                describe_layers(a, v)
                a.norm("norm", v.hidden_size, bias=True, role="vision")
            a.norm("norm", v.hidden_size, role="vision")
            a.linear("proj", v.hidden_size, self.hidden_size, "vision")
        a.traits["vision"] = f"SigLIP {v.num_layers} × {v.hidden_size}, {self.tokens_per_image} tokens per image"
        return a

    @classmethod
    def tiny(cls) -> Self:
        return cls(
            vocab_size=61, hidden_size=24, intermediate_size=40, num_layers=4, num_heads=6, num_kv_heads=2, head_dim=10,
            max_seq_len=64, norm_eps=3e-5, query_pre_attn_scalar=7.0, sliding_window=5, local_per_global=1,
            attn_softcap=20.0, rope=RopeConfig(theta=5000.0), local_rope=RopeConfig(theta=100.0), tokens_per_image=4,
            # the image's ids lie beyond the vocabulary: random text then holds none
            image_token_id=61, image_start_id=62, image_end_id=63,
            vision=TowerConfig(hidden_size=16, intermediate_size=20, num_layers=2, num_heads=2, image_size=12,
                               patch_size=3, activation="gelu_tanh", norm_eps=2e-5),
        )  # fmt: skip
