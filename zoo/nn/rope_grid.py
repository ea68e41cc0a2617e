"""Rotary positions of more than one dimension: time, height and width.

Shapes: B batch, T queries, N heads, H head dim, R rotary channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from zoo.anatomy.config import RopeConfig
from zoo.nn.constant import Constant
from zoo.nn.norm import at_least_float32
from zoo.nn.rope import Rope, Rotation, paired


class MRope(Rope):
    """Rotary embedding whose channel pairs are shared out between time, height and width (arXiv:2409.12191).

    The first `sections[0]` pairs turn with the time, the next `sections[1]` with the height, then the width, and so
    on in turn. A token of text stands at the same number in all three, where this is the ordinary embedding.
    """

    def __init__(self, head_dim: int, rope: RopeConfig, max_seq_len: int, sections: Sequence[int]) -> None:
        super().__init__(head_dim, rope, max_seq_len)
        self.sections = list(sections)

    def forward(self, positions: Tensor, dtype: torch.dtype, lengths: Tensor | None = None) -> Rotation:
        """cos and sin at `positions` [B or 1, T], or [3, B, T] where time, height and width differ."""
        cos, sin = super().forward(positions, dtype, lengths)
        if positions.ndim == 2:
            return cos, sin
        return self._shared_out(cos), self._shared_out(sin)

    def _shared_out(self, x: Tensor) -> Tensor:
        """Of x [3, B, T, 1, R] each section from the dimension it turns with: [B, T, 1, R]."""
        parts = x.unflatten(-1, (2, -1)).split(self.sections, -1)
        return torch.cat([part[i % 3] for i, part in enumerate(parts)], -1).flatten(-2)


class InterleavedMRope(MRope):
    """MRope whose three dimensions take turns over the channel pairs, so that each has all speeds (arXiv:2511.21631).

    Of every three pairs the second turns with the height and the third with the width, until these have turned as many
    as `sections` says; the others turn with the time.
    """

    def _shared_out(self, x: Tensor) -> Tensor:
        """Of x [3, B, T, 1, R] each channel pair from the dimension it turns with: [B, T, 1, R]."""
        x = x.unflatten(-1, (2, -1))
        out = x[0].clone()
        for dimension in (1, 2):
            turned = slice(dimension, 3 * self.sections[dimension], 3)
            out[..., turned] = x[dimension, ..., turned]
        return out.flatten(-2)


class AxialRope(nn.Module):
    """Rotary embedding of a plane: half of the channel pairs turn with the row, half with the column.

    Pairs are (c, c + H/2), and the angles are float32 or wider, as are the products: what is rotated is cast back.
    """

    def __init__(self, head_dim: int, theta: float = 10_000.0) -> None:
        super().__init__()
        half = head_dim // 2
        self.frequencies = [theta ** (-2 * i / half) for i in range(half // 2)]
        self._frequencies = Constant()

    def forward(self, places: Tensor, dtype: torch.dtype) -> Rotation:
        """cos and sin [T, 1, H] at `places` [T, 2], the row and column of each patch."""
        exact = torch.float64 if dtype == torch.float64 else torch.float32
        step = self._frequencies(self.frequencies, exact, places.device)
        angles = paired((places[..., None].to(exact) * step).flatten(-2)[:, None])
        return angles.cos(), angles.sin()

    def rotate(self, x: Tensor, rotation: Rotation) -> Tensor:
        """Rotate x [T, N, H]."""
        cos, sin = rotation
        y = at_least_float32(x)
        return (y * cos + y.roll(y.shape[-1] // 2, -1) * sin).to(x.dtype)
