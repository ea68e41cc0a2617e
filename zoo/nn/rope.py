"""Rotary position embedding (arXiv:2104.09864).

Shapes: B batch, T queries, N heads, H head dim, R rotary channels (the first R <= H of each head).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo.anatomy.config import RopeConfig
from zoo.anatomy.frequencies import attention_factor, frequencies
from zoo.nn.constant import Constant

Rotation = tuple[Tensor, Tensor]  # cos and sin of each channel's angle, [B or 1, T, 1, R]: see Rope


class Rope(nn.Module):
    """Angles by position, and the rotation of channel pairs by them.

    Channel c pairs with c + R/2, the layout of Hugging Face checkpoints; `is_interleaved` pairs 2c with 2c + 1, as
    Meta's, DeepSeek's and GLM's weights do. The first of a pair takes the angle with a minus: then each channel is
    x * cos + partner * sin. Holds no parameter or buffer, so that it is the same on every device and on meta.
    """

    def __init__(self, head_dim: int, rope: RopeConfig, max_seq_len: int, *, is_interleaved: bool = False) -> None:
        super().__init__()
        self.dim = int(head_dim * rope.partial)
        self.rope, self.max_seq_len, self.is_interleaved = rope, max_seq_len, is_interleaved
        self.factor = attention_factor(rope, max_seq_len)
        self.original = rope.original_max_seq_len or max_seq_len
        self.depends_on_length = rope.scaling in ("dynamic", "longrope")
        # float64 constants; computed once, cast where they are used
        self.short = frequencies(self.dim, rope, max_seq_len)
        self.long = frequencies(self.dim, rope, max_seq_len, self.original + 1) if rope.scaling == "longrope" else []
        self._short, self._long = Constant(), Constant()

    @property
    def constant_up_to(self) -> int | None:
        """Tokens up to which no angle depends on the length of the text; None: any number."""
        if not self.depends_on_length:
            return None
        return self.original if self.rope.scaling == "longrope" else self.max_seq_len

    def forward(self, positions: Tensor, dtype: torch.dtype, lengths: Tensor | None = None) -> Rotation:
        """cos and sin at `positions` [B or 1, T], in `dtype`; `lengths` [B or 1] or of each, where they matter."""
        exact = torch.float64 if dtype == torch.float64 else torch.float32
        turns = paired(self._frequencies(lengths, exact, positions.device), self.is_interleaved)
        angles = (positions[..., None].to(exact) * turns).unsqueeze(-2)
        cos, sin = angles.cos(), angles.sin()
        if self.factor != 1.0:
            cos, sin = cos * self.factor, sin * self.factor
        return cos.to(dtype), sin.to(dtype)

    def rotate(self, x: Tensor, rotation: Rotation) -> Tensor:
        """Rotate x [B, T, N, H]; channels beyond the R rotary ones pass through."""
        cos, sin = rotation
        rotary, rest = (x, None) if x.shape[-1] == self.dim else x.split([self.dim, x.shape[-1] - self.dim], -1)
        if self.is_interleaved:
            partner = rotary.unflatten(-1, (-1, 2)).roll(1, -1).flatten(-2)
        else:
            partner = rotary.roll(self.dim // 2, -1)
        out = rotary * cos + partner * sin
        return out if rest is None else torch.cat((out, rest), -1)

    def _frequencies(self, lengths: Tensor | None, dtype: torch.dtype, device: torch.device) -> Tensor:
        """[R/2], or [B, 1 or T, R/2] where they depend on each row's length, or on what each token takes for it."""
        short = self._short(self.short, dtype, device)
        if not self.depends_on_length or lengths is None:
            return short
        lengths = (lengths if lengths.dim() == 2 else lengths[:, None])[..., None]
        if self.rope.scaling == "longrope":
            return torch.where(lengths > self.original, self._long(self.long, dtype, device), short)
        exponent = torch.arange(0, self.dim, 2, dtype=dtype, device=device) / self.dim
        grown = lengths.clamp(min=self.max_seq_len).to(dtype) / self.max_seq_len
        theta = (self.rope.factor * grown - (self.rope.factor - 1)) ** (self.dim / (self.dim - 2)) * self.rope.theta
        return theta**-exponent

    def extra_repr(self) -> str:
        return f"dim={self.dim}, theta={self.rope.theta:g}, scaling={self.rope.scaling}"


def paired(frequencies: Tensor, is_interleaved: bool = False) -> Tensor:
    """Frequencies [..., R] of channels, from those of pairs [..., R/2]."""
    if is_interleaved:
        return torch.stack((-frequencies, frequencies), -1).flatten(-2)
    return torch.cat((-frequencies, frequencies), -1)
