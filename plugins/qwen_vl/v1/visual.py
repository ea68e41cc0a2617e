"""What Qwen-VL reads images with: OpenCLIP's ViT-bigG (arXiv:2212.07143) and a resampler (arXiv:2308.12966).

As in the released visual.py, the resampler's positions are added to queries and keys but not to values, and the first
half of their channels tells the column, the second the row.

Shapes: I images, C channels, P patches, D hidden, Q queries.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.anatomy import EQUAL_HEADS
from zoo.errors import UsageError
from zoo.nn import Attend, sinusoids
from zoo.nn.vision import ImageEmbeddings, VisionTower, interpolated, vision_layer

from .config import HEAD_DIM, VisualConfig

NORM_EPS = 1e-6  # no config names it


class QwenVisual(nn.Module):
    """Images to Q tokens each."""

    def __init__(self, v: VisualConfig, out_size: int) -> None:
        super().__init__()
        t = v.tower
        self.tower = VisionTower(
            ImageEmbeddings(
                t.hidden_size, image_size=t.image_size, patch_size=t.patch_size, has_class_token=False, has_bias=False
            ),
            (
                vision_layer(t.hidden_size, t.intermediate_size, t.num_heads, F.gelu, norm_eps=t.norm_eps)
                for _ in range(t.num_layers)
            ),
            embed_norm=nn.LayerNorm(t.hidden_size, t.norm_eps),
        )
        self.resampler = Resampler(v.side, t.hidden_size, out_size)
        self.norm = nn.LayerNorm(out_size, NORM_EPS)
        self.proj = nn.Linear(out_size, out_size, bias=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """pixels [I, C, H, H] to tokens [I, Q, D]. Raises UsageError for images that are no squares of patches."""
        if pixels.shape[-1] != pixels.shape[-2]:
            raise UsageError(f"an image of {pixels.shape[-2]} x {pixels.shape[-1]} pixels is not square")
        return self.proj(self.norm(self.resampler(self.tower(pixels))))


class Resampler(nn.Module):
    """Learned queries that attend to the patches once, both with the positions of a plane."""

    def __init__(self, side: int, in_size: int, out_size: int) -> None:
        super().__init__()
        self.side = side
        self.queries = nn.Parameter(torch.zeros(side**2, out_size))
        # Fixed, but stored in every file, and so a weight.
        self.positions = nn.Parameter(torch.zeros(side**2, out_size), requires_grad=False)
        self.kv_proj = nn.Linear(in_size, out_size, bias=False)
        self.q_norm, self.kv_norm = nn.LayerNorm(out_size, NORM_EPS), nn.LayerNorm(out_size, NORM_EPS)
        self.attn = ResamplerAttention(out_size)

    def forward(self, x: Tensor) -> Tensor:
        """x [I, P, D of the tower] to [I, Q, D]."""
        x = self.kv_norm(self.kv_proj(x))
        side = round(x.shape[1] ** 0.5)
        places = self.positions if side == self.side else interpolated(self.positions, self.side, (side, side))
        q = (self.q_norm(self.queries) + self.positions).expand(x.shape[0], -1, -1)
        return self.attn(q, x + places, x)

    def reset_parameters(self) -> None:
        nn.init.normal_(self.queries, std=0.02)
        with torch.no_grad():
            self.positions.copy_(plane(self.side, self.positions.shape[1]))


class ResamplerAttention(nn.Module):
    """Multi-head attention of q [I, Q, D] to k and v [I, P, D]."""

    cuts = EQUAL_HEADS

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (nn.Linear(hidden_size, hidden_size) for _ in range(4))
        self.num_heads, self.attend = hidden_size // HEAD_DIM, Attend(HEAD_DIM**-0.5)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (
            p(x).unflatten(-1, (-1, HEAD_DIM)) for p, x in ((self.q_proj, q), (self.k_proj, k), (self.v_proj, v))
        )
        return self.o_proj(self.attend(q, k, v).flatten(-2))


def plane(side: int, dim: int) -> Tensor:
    """Sinusoids [side * side, dim] of a square, row by row: the column in the first half, the row in the second."""
    at = torch.arange(side)
    rows, columns = (x.flatten()[None] for x in torch.meshgrid(at, at, indexing="ij"))
    return torch.cat([sinusoids(x, dim // 2, torch.float64)[0] for x in (columns, rows)], 1)
