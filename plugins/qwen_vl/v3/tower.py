"""The tower of Qwen3-VL (arXiv:2511.21631): learned positions beside the rotary ones, and tokens of several layers.

Shapes: P patches, D hidden, M patches merged into a token, H and W sides of the square of learned positions.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.nn import computed_by
from zoo.nn.vision import Parts

from ..tower import NORM_EPS, Merger, Tower, frames, places_of
from ..vision import DeepVisionConfig


class DeepTower(Tower):
    """Patches and their grids to tokens, and to the tokens of the layers that the decoder takes in as well."""

    def __init__(self, v: DeepVisionConfig, out_size: int) -> None:
        super().__init__(v, out_size)
        self.patch_embed = nn.Linear(v.patch_dim, v.hidden_size)
        self.positions, self.side = nn.Embedding(v.num_positions, v.hidden_size), math.isqrt(v.num_positions)
        self.deep_layers, merged = list(v.deep_layers), v.hidden_size * v.merge_size**2
        self.deep_mergers = nn.ModuleList(
            LateMerger(nn.LayerNorm(merged, NORM_EPS), merged, out_size) for _ in v.deep_layers
        )

    def forward(self, patches: Tensor, grid: Tensor) -> Tensor:
        """`grid` [images, 3] has each image's patches in time, height and width. Raises UsageError if they differ."""
        return self.at_depths(patches, grid)[0]

    def at_depths(self, patches: Tensor, grid: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Tokens [P / M, out_size], and as many of each of the deep layers."""
        sides = self.sides(patches, grid)
        x = self.patch_embed(patches.to(computed_by(self.patch_embed, self)["dtype"]))
        places = torch.cat([places_of(t, h, w, self.merge_size) for t, h, w in sides]).to(x.device)
        sizes = torch.cat([torch.tensor([[h, w]]).expand(t * h * w, 2) for t, h, w in sides]).to(x.device)
        x = x + self._stretched(places, sizes).to(x.dtype)
        parts, found = Parts.of(frames(sides), x.device, self.rope(places, x.dtype)), []
        for i, layer in enumerate(self.layers):
            x = layer(x, parts)
            if i in self.deep_layers:
                found.append(self.deep_mergers[len(found)](x))
        return self.merger(x), found

    def _stretched(self, places: Tensor, sizes: Tensor) -> Tensor:
        """Learned positions [P, D] of patches at `places` [P, 2] of frames of `sizes` [P, 2], bilinear, ends on ends.

        Where they lie between the learned ones is computed in float32 at least.
        """
        exact = torch.float64 if self.positions.weight.dtype == torch.float64 else torch.float32
        at = places.to(exact) * (self.side - 1) / (sizes - 1).clamp(min=1)
        low = at.floor()
        share, first = at - low, low.long()
        found: Tensor | float = 0.0
        for down in (0, 1):
            for right in (0, 1):
                step = torch.tensor([down, right], device=places.device)
                row, column = (first + step).clamp(max=self.side - 1).unbind(-1)
                weight = (1 - (share - step).abs()).prod(-1)
                found = found + self.positions(row * self.side + column) * weight[:, None]
        assert isinstance(found, Tensor)
        return found


class LateMerger(Merger):
    """A merger that norms squares of patches when they are laid end to end, and not each patch before."""

    def forward(self, x: Tensor) -> Tensor:
        """x [P, D] to [P / M, out_size]."""
        return self.down_proj(F.gelu(self.up_proj(self.norm(x.reshape(-1, self.merged_size)))))
