"""SigLIP 2 (arXiv:2502.14786) for pictures of any size and shape: NaFlex, after FlexiViT and NaViT (arXiv:2307.06304).

A picture is patches in rows and columns; several in a batch are padded, and padding is not seen. The learned square of
positions is stretched or shrunk to each picture's rows and columns, smoothly, and in float32 at least as in the
released code.

Shapes: I images, C channels, H and W pixels, S patches, R = C * patch area, D hidden.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.errors import UsageError
from zoo.nn import ACTIVATIONS, PairOutput, Span, at_least_float32
from zoo.nn.vision import as_numbers, check_pixels, vision_layer

from ..config import SiglipVisionConfig
from ..model import Siglip, attention_pool


class Siglip2(Siglip):
    """SigLIP whose image tower takes patches, or pictures of one size."""

    def tower(self, v: SiglipVisionConfig) -> nn.Module:
        return FlexibleVision(v)

    def forward(
        self,
        tokens: Tensor | None = None,
        pixels: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        shapes: Tensor | None = None,
    ) -> PairOutput:
        """Encode tokens [B, T], pixels, or both.

        Pixels are [I, C, H, W], or patches [I, S, R] of pictures with `shapes` [I, 2] rows and columns each; the rest
        of the S is padding. Raises UsageError for what no tower of it reads.
        """
        out = super().forward(tokens, None, attention_mask)
        if pixels is None:
            return out
        if self.vision is None:
            raise UsageError("this SigLIP model has no image tower")
        if not len(pixels):
            raise UsageError("there are no pictures: pixels is empty", hint="leave pixels out to read text alone")
        patches, shapes = self.patched(pixels) if shapes is None else (pixels, shapes)
        hidden, image, is_real = self.vision(patches, shapes)
        if self.classifier is not None:
            real = is_real[..., None]
            return PairOutput(None, None, hidden, image, self.classifier((hidden * real).sum(1) / real.sum(1)))
        return self.judged(out.text_hidden, out.text, hidden, image)

    def patched(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels [I, C, H, W] as patches [I, S, R], row by row, and how many rows and columns each has [I, 2]."""
        v = self.config.vision
        assert v is not None
        rows, columns = check_pixels(pixels, v.num_channels, v.patch_size)
        x = pixels.unflatten(3, (columns, -1)).unflatten(2, (rows, -1))  # [I, C, rows, P, columns, P]
        shapes = torch.tensor([[rows, columns]] * len(pixels), device=pixels.device)
        return x.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2), shapes


class FlexibleVision(nn.Module):
    """A vision transformer over patches of pictures of several shapes."""

    def __init__(self, v: SiglipVisionConfig) -> None:
        super().__init__()
        sizes = v.hidden_size, v.intermediate_size, v.num_heads, ACTIVATIONS[v.activation]
        self.embed = FlexibleEmbeddings(v)
        self.layers = nn.ModuleList(vision_layer(*sizes, norm_eps=v.norm_eps) for _ in range(v.num_layers))
        self.norm = nn.LayerNorm(v.hidden_size, v.norm_eps)
        self.pool = attention_pool(v) if v.has_pool else None

    def forward(self, patches: Tensor, shapes: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """States [I, S, D] of patches [I, S, R], the vector [I, D] of each picture, which patches are real [I, S]."""
        is_real = torch.arange(patches.shape[1], device=patches.device) < shapes.prod(1)[:, None]
        x = self.embed(patches, shapes)
        span = Span(x.shape[0], x.shape[1], x.device, attention_mask=is_real)
        for layer in self.layers:
            x = layer(x, span)
        x = self.norm(x)
        return x, None if self.pool is None else self.pool(x, is_real), is_real


class FlexibleEmbeddings(nn.Module):
    """Patches, each projected to a state, and positions as many as the picture has rows and columns."""

    def __init__(self, v: SiglipVisionConfig) -> None:
        super().__init__()
        self.side = v.image_size // v.patch_size
        self.patches = nn.Linear(v.num_channels * v.patch_size**2, v.hidden_size)
        self.positions = nn.Embedding(self.side**2, v.hidden_size)

    def forward(self, patches: Tensor, shapes: Tensor) -> Tensor:
        """patches [I, S, R] of pictures of `shapes` [I, 2] to [I, S, D]. Raises UsageError where they do not fit."""
        if patches.ndim != 3 or patches.shape[2] != self.patches.in_features or shapes.shape != (len(patches), 2):
            found = f"patches {list(patches.shape)} with shapes {list(shapes.shape)}"
            raise UsageError(f"{found} are not [images, patches, {self.patches.in_features}] with [images, 2]")
        if shapes.is_floating_point():
            raise UsageError(f"shapes of {shapes.dtype} are not integers: rows and columns of patches")
        x = self.patches(as_numbers(patches, self.patches.weight.dtype))
        square = at_least_float32(self.positions.weight).T.unflatten(1, (self.side, self.side))[None]
        return x + torch.stack([self._of_one(square, sides, x) for sides in shapes.tolist()])

    def _of_one(self, square: Tensor, sides: list[int], x: Tensor) -> Tensor:
        """Positions [S, D] of a picture; padding has that of the first patch."""
        rows, columns = sides
        if rows < 1 or columns < 1 or rows * columns > x.shape[1]:
            raise UsageError(f"{rows} rows of {columns} patches are not within the {x.shape[1]} given")
        found = F.interpolate(square, (rows, columns), mode="bilinear", align_corners=False, antialias=True)
        table = found[0].flatten(1).T.to(x.dtype)
        return torch.cat((table, table[:1].expand(x.shape[1] - rows * columns, -1)))
