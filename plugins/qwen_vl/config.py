"""How Qwen2-VL and Qwen2.5-VL are configured, and what they are made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Self

from zoo.anatomy import MISSING, Anatomy, DecoderConfig, RopeConfig, describe_trunk, rope_in_words
from zoo.errors import ConfigError

from .vision import VisionConfig, WindowedVisionConfig, describe_tower

TINY = {
    "vocab_size": 61, "hidden_size": 40, "intermediate_size": 44, "num_layers": 2, "num_heads": 4, "num_kv_heads": 2,
    "head_dim": 10, "max_seq_len": 64, "norm_eps": 3e-5, "rope_sections": [1, 2, 2],
    # beyond the vocabulary, which the model allows: random text then holds no placeholder of an image
    "image_token_id": 61, "video_token_id": 62, "vision_start_token_id": 63, "vision_end_token_id": 64,
}  # fmt: skip


@dataclass
class Qwen2VLConfig(DecoderConfig):
    """Qwen2-VL (arXiv:2409.12191): a Qwen2 decoder whose rotary positions are those of time, height and width."""

    family: str = "qwen2_vl"
    norm_eps: float = 1e-6  # added to the mean square
    rope_sections: list[int] = field(default_factory=lambda: [16, 24, 24])  # channel pairs: time, height, width, ...
    image_token_id: int = MISSING  # stands for one token of an image
    video_token_id: int = MISSING  # stands for one token of a video
    vision_start_token_id: int = MISSING  # comes before an image or video
    vision_end_token_id: int = MISSING  # comes after an image or video
    vision: VisionConfig = field(default_factory=VisionConfig)  # the tower that reads images and videos

    has_qk_norm: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.vision.check()
        pairs = int(self.head_dim * self.rope.partial) // 2
        if not all(isinstance(n, int) and n > 0 for n in self.rope_sections) or sum(self.rope_sections) != pairs:
            raise ConfigError(f"model.rope_sections={self.rope_sections} do not add up to {pairs} channel pairs")
        if self.image_token_id == self.video_token_id:
            raise ConfigError("model.image_token_id and model.video_token_id are the same")

    def anatomy(self) -> Anatomy:
        position = f"{rope_in_words(self.rope)}, by time, height and width"
        bias, out_bias = self.biases
        with describe_trunk(
            self, self.heads, position=position, bias=bias, out_bias=out_bias, qk_norm=self.has_qk_norm
        ) as a:
            pass
        a.traits["norm"] += ", also on q and k" if self.has_qk_norm else ""
        a.traits["mlp"] = self.describe_mlp(a)
        describe_tower(a, self.vision, self.hidden_size)
        return a

    @property
    def biases(self) -> tuple[bool, bool]:
        """Whether q, k and v have biases, and whether o has one."""
        return True, False

    def describe_mlp(self, a: Anatomy) -> str:
        """Add the weights of all MLPs; returns them in words."""
        with a.under("layers.{i}", range(self.num_layers)):
            a.gated_mlp(self.hidden_size, self.intermediate_size)
        return f"SwiGLU {self.intermediate_size}"

    @classmethod
    def tiny(cls) -> Self:
        vision = VisionConfig(hidden_size=16, intermediate_size=48, num_layers=2, num_heads=2, patch_size=4)
        return cls(**TINY, rope=RopeConfig(theta=1000.0), vision=vision)


@dataclass
class Qwen2_5VLConfig(Qwen2VLConfig):
    """Qwen2.5-VL (arXiv:2502.13923): windows in the tower, and time in seconds."""

    family: str = "qwen2_5_vl"
    # pyrefly: ignore[bad-override-mutable-attribute]  # a config's fields are set once
    vision: WindowedVisionConfig = field(default_factory=WindowedVisionConfig)  # the tower that reads images and videos

    @classmethod
    def tiny(cls) -> Self:
        vision = WindowedVisionConfig(
            hidden_size=16, intermediate_size=36, num_layers=3, num_heads=2, patch_size=4, window_size=16,
            full_layers=[1],
        )  # fmt: skip
        return cls(**TINY, rope=RopeConfig(theta=1000.0), vision=vision)
