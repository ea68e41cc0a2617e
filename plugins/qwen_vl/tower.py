"""The towers of Qwen2-VL (arXiv:2409.12191) and Qwen2.5-VL (arXiv:2502.13923): all images in one sequence of patches.

Patches come in the order of the reference's image processor: of each frame the squares that become one token, row by
row, and of each square its patches, row by row. A frame's patches see each other and no other frame's.

Shapes: P patches, D hidden, M patches merged into a token.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.errors import UsageError
from zoo.nn import ACTIVATIONS, MLP, AxialRope, GatedMLP, PreNormLayer, RMSNorm, computed_by
from zoo.nn.vision import PartAttention, Parts

from .vision import VisionConfig, WindowedVisionConfig

NORM_EPS = 1e-6  # no config names it


class Tower(nn.Module):
    """Patches [P, channels * frames * height * width] and their grids to tokens [P / M, out_size]."""

    def __init__(self, v: VisionConfig, out_size: int) -> None:
        super().__init__()
        self.patch_dim, self.merge_size = v.patch_dim, v.merge_size
        self.rope = AxialRope(v.hidden_size // v.num_heads)
        self.patch_embed = nn.Linear(v.patch_dim, v.hidden_size, bias=False)
        self.layers = nn.ModuleList(_layer(v, self.rope) for _ in range(v.num_layers))
        self.merger = Merger(_norm(v), v.hidden_size * v.merge_size**2, out_size)

    def forward(self, patches: Tensor, grid: Tensor) -> Tensor:
        """`grid` [images, 3] has each image's patches in time, height and width. Raises UsageError if they differ."""
        sides = self.sides(patches, grid)
        x = self.patch_embed(patches.to(computed_by(self.patch_embed, self)["dtype"]))
        places = torch.cat([places_of(t, h, w, self.merge_size) for t, h, w in sides]).to(x.device)
        parts = Parts.of(frames(sides), x.device, self.rope(places, x.dtype))
        for layer in self.layers:
            x = layer(x, parts)
        return self.merger(x)

    def sides(self, patches: Tensor, grid: Tensor) -> list[tuple[int, int, int]]:
        """`grid` as numbers, checked against the patches."""
        found = sides_of(grid, self.merge_size)
        total = sum(t * h * w for t, h, w in found)
        if tuple(patches.shape) != (total, self.patch_dim):
            what = f"patches of shape {list(patches.shape)} do not fill grids of {found}"
            raise UsageError(what, why=f"expected [{total}, {self.patch_dim}]")
        return found


class WindowedTower(Tower):
    """Patches are ordered by window, layers but `full_layers` attend within them; the tokens come back in order."""

    def __init__(self, v: WindowedVisionConfig, out_size: int) -> None:
        super().__init__(v, out_size)
        self.full_layers = frozenset(v.full_layers)
        self.window = v.window_size // (v.merge_size * v.patch_size)  # tokens along its side

    def forward(self, patches: Tensor, grid: Tensor) -> Tensor:
        sides, unit = self.sides(patches, grid), self.merge_size**2
        windows = list(_windows(sides, self.merge_size, self.window))
        order = torch.cat(windows).to(patches.device)
        of_patches = (order[:, None] * unit + torch.arange(unit, device=order.device)).flatten()
        x = self.patch_embed(patches.to(computed_by(self.patch_embed, self)["dtype"]))[of_patches]
        places = torch.cat([places_of(t, h, w, self.merge_size) for t, h, w in sides]).to(x.device)[of_patches]
        rotation = self.rope(places, x.dtype)
        whole = Parts.of(frames(sides), x.device, rotation)
        within = Parts.of([len(window) * unit for window in windows], x.device, rotation)
        for i, layer in enumerate(self.layers):
            x = layer(x, whole if i in self.full_layers else within)
        return self.merger(x)[order.argsort()]


class Merger(nn.Module):
    """The states of a square of patches, normed and laid end to end, to one token."""

    def __init__(self, norm: nn.Module, merged_size: int, out_size: int) -> None:
        super().__init__()
        self.norm, self.merged_size = norm, merged_size
        self.up_proj = nn.Linear(merged_size, merged_size)
        self.down_proj = nn.Linear(merged_size, out_size)

    def forward(self, x: Tensor) -> Tensor:
        """x [P, D] to [P / M, out_size]."""
        return self.down_proj(F.gelu(self.up_proj(self.norm(x).reshape(-1, self.merged_size))))


def sides_of(grid: Tensor | None, merge: int) -> list[tuple[int, int, int]]:
    """The rows of `grid` [images, 3], which has their patches in time, height and width; None: no images.

    Raises UsageError for anything else, a grid without patches, and one that cannot be cut into squares of `merge`.
    """
    if grid is None:
        return []
    if not isinstance(grid, Tensor):
        raise UsageError(f"a grid of {type(grid).__name__} is not integers [images, 3]", hint="torch.tensor(grid)")
    if grid.ndim != 2 or grid.shape[1] != 3 or grid.is_floating_point():
        kind = str(grid.dtype).removeprefix("torch.")
        raise UsageError(f"a grid {list(grid.shape)} of {kind} is not integers [images, 3]: time, height and width")
    sides = [(int(t), int(h), int(w)) for t, h, w in grid.tolist()]
    if any(min(g) < 1 or g[1] % merge or g[2] % merge for g in sides):
        raise UsageError(f"a grid of {sides} patches cannot be cut into squares of {merge}")
    return sides


def frames(sides: list[tuple[int, int, int]]) -> list[int]:
    """Patches of each frame."""
    return [h * w for t, h, w in sides for _ in range(t)]


def places_of(t: int, h: int, w: int, merge: int) -> Tensor:
    """Row and column of every patch, [t * h * w, 2], in the order they come in."""
    cells = torch.stack(torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij"), -1)
    squares = cells.unflatten(0, (-1, merge)).unflatten(2, (-1, merge)).transpose(1, 2)
    return squares.reshape(-1, 2).repeat(t, 1)


def _windows(sides: list[tuple[int, int, int]], merge: int, window: int) -> Iterator[Tensor]:
    """The tokens of each window, by their numbers in the order they come in; those at the edges are smaller."""
    first = 0
    for t, h, w in sides:
        rows, columns = h // merge, w // merge
        numbers = first + torch.arange(t * rows * columns).reshape(t, rows, columns)
        for frame in numbers:
            for top in range(0, rows, window):
                for left in range(0, columns, window):
                    yield frame[top : top + window, left : left + window].flatten()
        first += t * rows * columns


def _norm(v: VisionConfig) -> nn.Module:
    is_windowed = isinstance(v, WindowedVisionConfig)
    return RMSNorm(v.hidden_size, NORM_EPS) if is_windowed else nn.LayerNorm(v.hidden_size, NORM_EPS)


def _layer(v: VisionConfig, rope: AxialRope) -> PreNormLayer:
    act = ACTIVATIONS[v.activation]
    gated = GatedMLP(v.hidden_size, v.intermediate_size, act, bias=True)
    return PreNormLayer(
        attn=PartAttention(v.hidden_size, v.num_heads, rope),
        mlp=gated if isinstance(v, WindowedVisionConfig) else MLP(v.hidden_size, v.intermediate_size, act),
        attn_norm=_norm(v),
        mlp_norm=_norm(v),
    )
