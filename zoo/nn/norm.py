"""Normalisation."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def at_least_float32(x: Tensor) -> Tensor:
    """`x` itself if float64, else in float32: where statistics, angles and softmax are computed."""
    return x if x.dtype == torch.float64 else x.float()


class RMSNorm(nn.Module):
    """Divide by the root mean square over the last dimension (arXiv:1910.07467).

    The statistics are float32 whatever the input; the result is cast back before the weight multiplies, as in LLaMA.
    """

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def reset_parameters(self) -> None:
        nn.init.ones_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        y = at_least_float32(x)
        y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + self.eps)
        return self.weight * y.to(x.dtype)


class UnitOffsetRMSNorm(RMSNorm):
    """RMSNorm that scales by (1 + weight) and casts last, as Gemma does (arXiv:2403.08295 and its released code)."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__(dim, eps)
        nn.init.zeros_(self.weight)

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        y = at_least_float32(x)
        y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + self.eps)
        return (y * (1 + at_least_float32(self.weight))).to(x.dtype)


class WideRMSNorm(RMSNorm):
    """RMSNorm that is cast behind the weight, not before it, as in Gemma 3n and in gpt-oss, whose weight is float32."""

    def forward(self, x: Tensor) -> Tensor:
        y = at_least_float32(x)
        y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + self.eps)
        return (at_least_float32(self.weight) * y).to(x.dtype)
