"""How the towers of Qwen2-VL and its successors are configured, and what they are made of."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from zoo.anatomy import MISSING, Anatomy, check_sizes, multiple_of, one_of
from zoo.errors import ConfigError


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
class DeepVisionConfig(VisionConfig):
    """The tower of Qwen3-VL, some of whose layers give tokens of their own to the decoder."""

    patch_size: int = 16  # pixels along the side of a patch
    activation: str = "gelu_tanh"  # of the MLP: quick_gelu | gelu | gelu_tanh | silu
    num_positions: int = 2304  # learned positions, those of a square, stretched to the sides of each image
    deep_layers: list[int] = field(default_factory=lambda: [8, 16, 24])  # the n-th one's tokens enter after layer n

    def check(self) -> None:
        super().check()
        check_sizes(self, "model.vision", "num_positions")
        if math.isqrt(self.num_positions) ** 2 != self.num_positions:
            raise ConfigError(f"model.vision.num_positions={self.num_positions} are not those of a square")
        if self.deep_layers != sorted(set(self.deep_layers) & set(range(self.num_layers))):
            raise ConfigError(
                f"model.vision.deep_layers={self.deep_layers} must be layer numbers in order, below "
                f"model.vision.num_layers={self.num_layers}"
            )


def describe_tower(a: Anatomy, v: VisionConfig, out_size: int) -> None:
    """The tower's weights. No token of text passes through them, so that they count for no FLOPs of a token."""
    is_windowed, deep = isinstance(v, WindowedVisionConfig), v if isinstance(v, DeepVisionConfig) else None
    dim, merged = v.hidden_size, v.hidden_size * v.merge_size**2
    with a.under("visual"), a.off_the_text():
        a.weight("patch_embed.weight", (dim, v.patch_dim), "vision")
        if deep:
            a.weight("patch_embed.bias", (dim,), "vision")
            a.weight("positions.weight", (deep.num_positions, dim), "vision")
        with a.under("layers.{i}", range(v.num_layers)):
            a.norm("attn_norm", dim, bias=not is_windowed, role="vision")
            a.attn(dim, v.num_heads, v.num_heads, dim // v.num_heads, bias=True, role="vision")
            a.norm("mlp_norm", dim, bias=not is_windowed, role="vision")
            (a.gated_mlp if is_windowed else a.mlp)(dim, v.intermediate_size, bias=True, role="vision")
        with a.under("merger"):
            _describe_merger(a, dim, merged, out_size, bias=not is_windowed)
        with a.under("deep_mergers.{i}", range(len(deep.deep_layers) if deep else 0)):
            _describe_merger(a, merged, merged, out_size, bias=True)
    within = f", windows of {v.window_size} pixels" if isinstance(v, WindowedVisionConfig) else ""
    within += f", tokens of layers {', '.join(map(str, deep.deep_layers))} too" if deep and deep.deep_layers else ""
    a.traits["vision"] = f"ViT {v.num_layers} × {dim}, patches of {v.patch_size}, any size{within}"


def _describe_merger(a: Anatomy, normed: int, merged: int, out_size: int, *, bias: bool) -> None:
    a.norm("norm", normed, bias=bias, role="vision")
    a.linear("up_proj", merged, merged, "vision", bias=True)
    a.linear("down_proj", merged, out_size, "vision", bias=True)
