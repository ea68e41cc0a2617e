"""How Qwen2-VL and Qwen2.5-VL are configured, and what they are made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from zoo.anatomy import (
    MISSING,
    Anatomy,
    DecoderConfig,
    RopeConfig,
    check_sizes,
    describe_trunk,
    multiple_of,
    one_of,
    rope_in_words,
)
from zoo.errors import ConfigError

TINY = {
    "vocab_size": 61, "hidden_size": 40, "intermediate_size": 44, "num_layers": 2, "num_heads": 4, "num_kv_heads": 2,
    "head_dim": 10, "max_seq_len": 64, "norm_eps": 3e-5, "rope_sections": [1, 2, 2],
    # beyond the vocabulary, which the model allows: random text then holds no placeholder of an image
    "image_token_id": 61, "video_token_id": 62, "vision_start_token_id": 63, "vision_end_token_id": 64,
}  # fmt: skip


@dataclass
class VisionConfig:
    """The tower of Qwen2-VL, which reads patches of images of any size."""

    hidden_size: int = MISSING  # width of the tower
    intermediate_size: int = MISSING  # width of its MLP
    num_layers: int = MISSING  # blocks in the tower
    num_heads: int = MISSING  # attention heads, each of hidden_size / num_heads channels
    num_channels: int = 3  # colours
    patch_size: int = 14  # pixels along the side of a patch
    temporal_patch_size: int = 2  # frames that a patch spans; a still image is repeated
    merge_size: int = 2  # patches along the side of the square that becomes one token
    activation: str = "quick_gelu"  # of the MLP: quick_gelu | gelu | gelu_tanh | silu

    @property
    def patch_dim(self) -> int:
        """Numbers in a flattened patch."""
        return self.num_channels * self.temporal_patch_size * self.patch_size**2

    def check(self) -> None:
        """Raise ConfigError where sizes do not fit each other."""
        sizes = "hidden_size intermediate_size num_heads num_channels patch_size temporal_patch_size merge_size"
        check_sizes(self, "model.vision", *sizes.split())
        multiple_of("model.vision.hidden_size", self.hidden_size, "four channels per head", 4 * self.num_heads)
        one_of("model.vision.activation", self.activation, ("quick_gelu", "gelu", "gelu_tanh", "silu"))


@dataclass
class WindowedVisionConfig(VisionConfig):
    """The tower of Qwen2.5-VL, most of whose layers attend within windows."""

    activation: str = "silu"  # of the gated MLP: quick_gelu | gelu | gelu_tanh | silu
    window_size: int = 112  # pixels along the side of a window; a multiple of merge_size * patch_size
    full_layers: list[int] = field(default_factory=lambda: [7, 15, 23, 31])  # layers that see the whole frame
    tokens_per_second: int = 2  # steps of the time position per second of video

    def check(self) -> None:
        super().check()
        unit = self.merge_size * self.patch_size
        multiple_of("model.vision.window_size", self.window_size, "model.vision.merge_size * patch_size", unit)
        if self.window_size < unit or self.tokens_per_second < 1:
            raise ConfigError("model.vision.window_size or model.vision.tokens_per_second is below 1")
        if beyond := [i for i in self.full_layers if not 0 <= i < self.num_layers]:
            raise ConfigError(f"model.vision.full_layers has {beyond[0]}, the tower {self.num_layers} layers")


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
        with describe_trunk(self, self.heads, position=position, bias=True, out_bias=False) as a:
            a.gated_mlp(self.hidden_size, self.intermediate_size)
        a.traits["mlp"] = f"SwiGLU {self.intermediate_size}"
        describe_tower(a, self.vision, self.hidden_size)
        return a

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


def describe_tower(a: Anatomy, v: VisionConfig, out_size: int) -> None:
    """The tower's weights. No token of text passes through them, so that they count for no FLOPs of a token."""
    is_windowed, dim, merged = isinstance(v, WindowedVisionConfig), v.hidden_size, v.hidden_size * v.merge_size**2
    with a.under("visual"), a.off_the_text():
        a.weight("patch_embed.weight", (dim, v.patch_dim), "vision")
        with a.under("layers.{i}", range(v.num_layers)):
            a.norm("attn_norm", dim, bias=not is_windowed, role="vision")
            a.attn(dim, v.num_heads, v.num_heads, dim // v.num_heads, bias=True, role="vision")
            a.norm("mlp_norm", dim, bias=not is_windowed, role="vision")
            (a.gated_mlp if is_windowed else a.mlp)(dim, v.intermediate_size, bias=True, role="vision")
        with a.under("merger"):
            a.norm("norm", dim, bias=not is_windowed, role="vision")
            a.linear("up_proj", merged, merged, "vision", bias=True)
            a.linear("down_proj", merged, out_size, "vision", bias=True)
    within = f", windows of {v.window_size} pixels" if isinstance(v, WindowedVisionConfig) else ""
    a.traits["vision"] = f"ViT {v.num_layers} × {dim}, patches of {v.patch_size}, any size{within}"
