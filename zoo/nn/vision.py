"""What vision towers are made of: patches of images, and attention within parts of a sequence of patches.

Towers for images of one size take pixels [B, C, H, W] through `ImageEmbeddings`; their layers are `PreNormLayer`s of
`Attention` with the mask `everything`. Towers for images of any size, all in one sequence, use `PartAttention`.

Shapes: B images, C channels, H and W height and width in pixels, P patches, D hidden, N heads, L patches of a part.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.anatomy.cuts import EQUAL_HEADS
from zoo.errors import UsageError
from zoo.nn.attend import Attend
from zoo.nn.attention import Attention
from zoo.nn.decoder import PreNormLayer
from zoo.nn.mask import everything
from zoo.nn.mlp import MLP, Activation
from zoo.nn.norm import at_least_float32
from zoo.nn.rope import Rotation
from zoo.nn.rope_grid import AxialRope
from zoo.nn.span import Span

__all__ = [
    "ImageEmbeddings", "PartAttention", "Parts", "VisionLayers", "VisionTower", "as_numbers", "check_pixels",
    "interpolated", "vision_layer",
]  # fmt: skip


class ImageEmbeddings(nn.Module):
    """Patches of an image, each projected to a state, and a learned position for each (arXiv:2010.11929).

    A class token, where there is one, comes first and has a position of its own. For images of another size than the
    `image_size` pixels of training the positions are interpolated bicubically.
    """

    def __init__(
        self,
        hidden_size: int,
        *,
        image_size: int,
        patch_size: int,
        num_channels: int = 3,
        has_class_token: bool = True,
        has_bias: bool = True,
    ) -> None:
        super().__init__()
        self.image_size, self.patch_size, self.side = image_size, patch_size, image_size // patch_size
        self.patches = nn.Conv2d(num_channels, hidden_size, patch_size, patch_size, bias=has_bias)
        self.class_token = nn.Parameter(torch.zeros(hidden_size)) if has_class_token else None
        self.positions = nn.Embedding(self.side**2 + has_class_token, hidden_size)

    def reset_parameters(self) -> None:
        if self.class_token is not None:
            nn.init.normal_(self.class_token, std=0.02)

    def forward(self, pixels: Tensor) -> Tensor:
        """pixels [B, C, H, W] to [B, P, D], row by row. Raises UsageError for sizes that are no whole patches.

        Of images of the size of training what lies beyond the last whole patch is not read.
        """
        sides = check_pixels(pixels, self.patches.in_channels, self.patch_size, trained=self.image_size)
        x = self.patches(as_numbers(pixels, self.patches.weight.dtype)).flatten(2).mT
        table, alone = self.positions.weight, int(self.class_token is not None)
        if self.class_token is not None:
            x = torch.cat((self.class_token.expand(x.shape[0], 1, -1), x), 1)
        if sides != (self.side, self.side):
            table = torch.cat((table[:alone], interpolated(table[alone:], self.side, sides)))
        return x + table


class VisionLayers(nn.Module):
    """Embeddings, a norm before the layers (CLIP has one), layers in which every patch sees all, a norm after them.

    What is made of the states is the subclass's own; `VisionTower` gives them all.
    """

    def __init__(
        self,
        embed: nn.Module,
        layers: Iterable[nn.Module],
        *,
        embed_norm: nn.Module | None = None,
        norm: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.embed, self.embed_norm = embed, embed_norm
        self.layers, self.norm = nn.ModuleList(layers), norm

    def states(self, pixels: Tensor) -> Tensor:
        """pixels [B, C, H, W] to what leaves the last layer, [B, P, D], before the norm."""
        x = self.embed(pixels)
        if self.embed_norm is not None:
            x = self.embed_norm(x)
        span = Span(x.shape[0], x.shape[1], x.device)
        for layer in self.layers:
            x = layer(x, span)
        return x


class VisionTower(VisionLayers):
    """Images to the normed states of all their patches."""

    def forward(self, pixels: Tensor) -> Tensor:
        """pixels [B, C, H, W] to states [B, P, D]."""
        x = self.states(pixels)
        return x if self.norm is None else self.norm(x)


def vision_layer(
    hidden_size: int,
    intermediate_size: int,
    num_heads: int,
    act: Activation,
    *,
    norm_eps: float,
    has_qkv_bias: bool = True,
) -> PreNormLayer:
    """LayerNorms, attention without a mask and an MLP with biases: the layer of ViT, CLIP and SigLIP."""
    head_dim = hidden_size // num_heads
    return PreNormLayer(
        attn=Attention(
            hidden_size, num_heads, num_heads, head_dim, mask=everything, has_bias=has_qkv_bias, has_out_bias=True
        ),
        mlp=MLP(hidden_size, intermediate_size, act),
        attn_norm=nn.LayerNorm(hidden_size, norm_eps),
        mlp_norm=nn.LayerNorm(hidden_size, norm_eps),
    )


@dataclass(frozen=True)
class Parts:
    """How a sequence of patches falls into parts, and by what each patch is rotated."""

    indices: list[Tensor]  # [parts, L] for each length L that occurs: which patches each part has
    rotation: Rotation | None = None

    @classmethod
    def of(cls, lengths: Sequence[int], device: torch.device, rotation: Rotation | None = None) -> Parts:
        """Parts of these lengths, one after the other. Those of one length are attended to together."""
        starts: dict[int, list[int]] = defaultdict(list)
        start = 0
        for length in lengths:
            starts[length].append(start)
            start += length
        indices = [
            torch.tensor(firsts, device=device)[:, None] + torch.arange(length, device=device)
            for length, firsts in starts.items()
            if length
        ]
        return cls(indices, rotation)


class PartAttention(nn.Module):
    """Multi-head attention of every patch to those of its own part, in a sequence x [P, D] without a batch."""

    cuts = EQUAL_HEADS

    def __init__(self, hidden_size: int, num_heads: int, rope: AxialRope | None = None) -> None:
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (nn.Linear(hidden_size, hidden_size) for _ in range(4))
        self.num_heads, self.head_dim, self.rope = num_heads, hidden_size // num_heads, rope

    def forward(self, x: Tensor, parts: Parts, cache: None = None) -> Tensor:
        """x [P, D] to [P, D]."""
        q, k, v = (p(x).unflatten(-1, (-1, self.head_dim)) for p in (self.q_proj, self.k_proj, self.v_proj))
        if self.rope is not None and parts.rotation is not None:
            q, k = self.rope.rotate(q, parts.rotation), self.rope.rotate(k, parts.rotation)
        attend, out = Attend(self.head_dim**-0.5), torch.empty_like(q)
        for index in parts.indices:
            out[index] = attend(q[index], k[index], v[index])
        return self.o_proj(out.flatten(-2))


def interpolated(table: Tensor, side: int, sides: tuple[int, int], *, is_smooth: bool = False) -> Tensor:
    """A table [side * side, D] of a square of positions, stretched bicubically to `sides`, rows by columns.

    `is_smooth`: where it shrinks, over all that a new position covers.
    """
    square = at_least_float32(table).T.unflatten(1, (side, side))[None]
    found = F.interpolate(square, sides, mode="bicubic", align_corners=False, antialias=is_smooth)
    return found[0].flatten(1).T.to(table.dtype)


def as_numbers(pixels: Tensor, dtype: torch.dtype) -> Tensor:
    """Pixels in the type of a tower. Raises UsageError for bytes and other integers: no tower was trained on them."""
    if not pixels.is_floating_point():
        kind = str(pixels.dtype).removeprefix("torch.")
        what = f"pixels are {kind}, and not the numbers that are made of a picture's bytes"
        raise UsageError(what, hint="zoo.illustrate and zoo.vision.pixels_of make them")
    return pixels.to(dtype)


def check_pixels(pixels: Tensor, num_channels: int, patch_size: int, *, trained: int | None = None) -> tuple[int, int]:
    """Rows and columns of patches in pixels [B, C, H, W]. Raises UsageError where they are not whole.

    Squares of `trained` pixels need not be: SigLIP's of 384 have patches of 14.
    """
    if pixels.ndim != 4 or pixels.shape[1] != num_channels:
        raise UsageError(f"pixels of shape {list(pixels.shape)} are not [images, {num_channels}, height, width]")
    height, width = pixels.shape[2:]
    is_trained = height == width == trained
    if ((height % patch_size or width % patch_size) and not is_trained) or not height * width:
        raise UsageError(f"an image of {height} x {width} pixels cannot be cut into patches of {patch_size}")
    return height // patch_size, width // patch_size
