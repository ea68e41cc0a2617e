"""What reads images in Gemma 4, after the code in transformers: no paper describes it.

A picture is patches in rows and columns, several in a batch are padded, and padding is not seen. Every patch has a
learned position for its column and one for its row, and half of each head's channels turn with either. Squares of
states are averaged to one.

Shapes: I images, S patches, R numbers of a patch, V width of the tower, N heads, H head dim, n states, D hidden.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.anatomy import RopeConfig
from zoo.errors import UsageError
from zoo.nn import Attend, LateCastRMSNorm, Rope, SandwichLayer, Span, at_least_float32, everything, gelu_tanh
from zoo.nn.vision import as_numbers

from .config import PoolingTowerConfig

Linear = Callable[[int, int], nn.Module]


class PoolingTower(nn.Module):
    """Patches to states of the decoder's width, one for each square of patches."""

    def __init__(self, v: PoolingTowerConfig, hidden_size: int) -> None:
        super().__init__()
        self.pool, self.eps, self.embed = v.pool_size, v.norm_eps, PatchEmbeddings(v)
        rope, norm = PatchRope(v), partial(LateCastRMSNorm, v.hidden_size, v.norm_eps)
        linear: Linear = ClippedLinear if v.is_clipped else partial(nn.Linear, bias=False)
        self.layers = nn.ModuleList(
            SandwichLayer(
                PatchAttention(v, rope, linear), PatchMLP(v.hidden_size, v.intermediate_size, linear), norm=norm
            )
            for _ in range(v.num_layers)
        )
        self.shift = nn.Parameter(torch.zeros(v.hidden_size)) if v.is_standardised else None
        self.scale = nn.Parameter(torch.ones(v.hidden_size)) if v.is_standardised else None
        self.proj = nn.Linear(v.hidden_size, hidden_size, bias=False)

    def reset_parameters(self) -> None:
        if self.shift is not None and self.scale is not None:
            nn.init.zeros_(self.shift)
            nn.init.ones_(self.scale)

    def counts(self, shapes: Tensor) -> list[int]:
        """How many states images of `shapes` [I, 2] rows and columns become. Raises UsageError for cut squares."""
        if shapes.ndim != 2 or shapes.shape[1] != 2:
            raise UsageError(f"shapes {list(shapes.shape)} are not [images, 2]: rows and columns of patches")
        if shapes.is_floating_point():
            raise UsageError(f"shapes of {shapes.dtype} are not integers: rows and columns of patches")
        for rows, columns in (sides := shapes.tolist()):
            if min(rows, columns) < 1 or rows % self.pool or columns % self.pool:
                what = f"{rows} rows of {columns} patches are no whole squares of {self.pool} x {self.pool}"
                raise UsageError(what)
        return [rows * columns // self.pool**2 for rows, columns in sides]

    def forward(self, pixels: Tensor, shapes: Tensor) -> Tensor:
        """Patches [I, S, R] of images of `shapes` [I, 2] to [n, D], in order; the rest of the S is padding.

        Numbers of patches are from 0 to 1, colour by colour within each pixel. Raises UsageError where they do not go
        together with the shapes.
        """
        self.counts(shapes)
        sides = shapes.tolist()
        x, places = self.embed(pixels, sides)
        lengths = shapes.to(x.device).prod(1)
        is_real = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
        is_even = all(rows * columns == x.shape[1] for rows, columns in sides)
        span = Span(x.shape[0], x.shape[1], x.device, attention_mask=None if is_even else is_real)
        span.rotary_positions = places
        for layer in self.layers:
            x = layer(x, span)
        return self.proj(self._normed(torch.cat([self._pooled(*image) for image in zip(x, sides, strict=True)])))

    def _pooled(self, x: Tensor, sides: list[int]) -> Tensor:
        """States [S, V] of an image to the mean of each square [n, V], times sqrt(V) and standardised."""
        (rows, columns), p = sides, self.pool
        squares = x[: rows * columns].view(rows // p, p, columns // p, p, -1)
        y = at_least_float32(squares).mean((1, 3)).flatten(0, 1).to(x.dtype)
        y = at_least_float32(y) * x.shape[-1] ** 0.5
        if self.shift is not None and self.scale is not None:
            y = (y - at_least_float32(self.shift)) * at_least_float32(self.scale)
        return y.to(x.dtype)

    def _normed(self, x: Tensor) -> Tensor:
        return F.rms_norm(at_least_float32(x), x.shape[-1:], eps=self.eps).to(x.dtype)


class PatchEmbeddings(nn.Module):
    """Patches, each projected to a state, and learned positions of its column and its row."""

    def __init__(self, v: PoolingTowerConfig) -> None:
        super().__init__()
        self.patches = nn.Linear(v.patch_dim, v.hidden_size, bias=False)
        self.positions = nn.Parameter(torch.ones(2, v.num_positions, v.hidden_size))

    def reset_parameters(self) -> None:
        nn.init.normal_(self.positions, std=0.02)

    def forward(self, pixels: Tensor, sides: list[list[int]]) -> tuple[Tensor, Tensor]:
        """States [I, S, V] of patches [I, S, R], and the column and row of each [I, S, 2]."""
        if pixels.ndim != 3 or pixels.shape[2] != self.patches.in_features or len(pixels) != len(sides):
            found = f"patches {list(pixels.shape)} with {len(sides)} shapes"
            raise UsageError(f"{found} are not [images, patches, {self.patches.in_features}] with a shape for each")
        most = self.positions.shape[1]
        for rows, columns in sides:
            if rows * columns > pixels.shape[1] or max(rows, columns) > most:
                limit = f"the {pixels.shape[1]} patches given, or {most} a side"
                raise UsageError(f"{rows} rows of {columns} patches are not within {limit}")
        x = self.patches((2 * (as_numbers(pixels, pixels.dtype) - 0.5)).to(self.patches.weight.dtype))
        number = torch.arange(pixels.shape[1], device=pixels.device)
        shapes = torch.tensor(sides, device=pixels.device)
        row, column = number // shapes[:, 1:], number % shapes[:, 1:]
        row = row.clamp(max=most - 1)  # of padding
        return x + (self.positions[0][column] + self.positions[1][row]), torch.stack((column, row), -1)


class PatchRope(Rope):
    """The first half of a head's channels turns with the column, the second with the row."""

    def __init__(self, v: PoolingTowerConfig) -> None:
        super().__init__(v.head_dim // 2, RopeConfig(v.theta), v.num_positions)

    def forward(self, positions: Tensor, dtype: torch.dtype, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """cos and sin [I, S, 1, 2, H/2] at `positions` [I, S, 2]."""
        cos, sin = super().forward(positions, dtype)
        return cos.transpose(2, 3), sin.transpose(2, 3)

    def rotate(self, x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
        """Rotate x [I, S, N, H]."""
        return super().rotate(x.unflatten(-1, (2, -1)), rotation).flatten(-2)


class PatchAttention(nn.Module):
    """Attention of every patch to all of its image: unscaled scores, norms on q, k and, without a weight, v."""

    def __init__(self, v: PoolingTowerConfig, rope: PatchRope, linear: Linear) -> None:
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (linear(v.hidden_size, v.hidden_size) for _ in range(4))
        self.q_norm, self.k_norm = (LateCastRMSNorm(v.head_dim, v.norm_eps) for _ in range(2))
        self.head_dim, self.eps, self.rope = v.head_dim, v.norm_eps, rope

    def forward(self, x: Tensor, span: Span, cache: Any = None) -> Tensor:
        """x [I, S, V] to [I, S, V]."""
        q, k, v = (p(x).unflatten(-1, (-1, self.head_dim)) for p in (self.q_proj, self.k_proj, self.v_proj))
        rotation = span.rotation(self.rope, q.dtype)
        q, k = self.rope.rotate(self.q_norm(q), rotation), self.rope.rotate(self.k_norm(k), rotation)
        v = F.rms_norm(at_least_float32(v), v.shape[-1:], eps=self.eps).to(v.dtype)
        return self.o_proj(Attend(1.0)(q, k, v, span.allowed(everything)).flatten(-2))


class PatchMLP(nn.Module):
    """down(gelu(gate(x)) * up(x)), of matrices that may be clipped."""

    def __init__(self, hidden_size: int, intermediate_size: int, linear: Linear) -> None:
        super().__init__()
        self.gate_proj, self.up_proj = (linear(hidden_size, intermediate_size) for _ in range(2))
        self.down_proj = linear(intermediate_size, hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(gelu_tanh(self.gate_proj(x)) * self.up_proj(x))


class ClippedLinear(nn.Module):
    """A matrix, what enters it and what leaves it kept within bounds: least and most going in, and coming out."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.linear = nn.Linear(n_in, n_out, bias=False)
        self.bounds = nn.Parameter(torch.empty(4))

    def reset_parameters(self) -> None:
        with torch.no_grad():  # nearly all that float16 has: files with infinities are refused
            self.bounds.copy_(torch.tensor([-6e4, 6e4, -6e4, 6e4]))

    def forward(self, x: Tensor) -> Tensor:
        low, high, least, most = self.bounds
        return self.linear(x.clamp(low, high)).clamp(least, most)
