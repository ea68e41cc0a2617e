"""Normalisation."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.nn.constant import Constant

EXACT = (torch.float32, torch.float64)  # in which statistics are computed
FEW = 1 << 13  # numbers: of so few it counts how many operations they take


def at_least_float32(x: Tensor) -> Tensor:
    """`x` itself if float64, else in float32: where statistics, angles and softmax are computed."""
    return x if x.dtype == torch.float64 else x.float()


class RMSNorm(nn.Module):
    """Divide by the root mean square over the last dimension (arXiv:1910.07467).

    The statistics are float32 whatever the input; the result is cast back before the weight multiplies, as in LLaMA.
    """

    is_by_token = True

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps, self._eps, self._constant = eps, [eps], Constant()

    def reset_parameters(self) -> None:
        nn.init.ones_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * self.divided(x)

    def divided(self, x: Tensor) -> Tensor:
        """x divided by its root mean square; without gradients in fewer operations, of which torch's takes seven."""
        is_as_ever = torch.compiler.is_compiling() or torch.is_grad_enabled()  # a graph must not depend on the number
        if is_as_ever or x.dtype not in EXACT or not x.is_cpu or x.numel() > FEW:
            return F.rms_norm(x, x.shape[-1:], eps=self.eps)
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        if self._eps[0] != self.eps:
            self._eps = [self.eps]
        eps = self._constant(self._eps, x.dtype, x.device)
        return x * torch.addcmul(eps, length, length, value=1 / x.shape[-1]).rsqrt_()


class UnitOffsetRMSNorm(RMSNorm):
    """RMSNorm that scales by (1 + weight) and casts last, as Gemma does (arXiv:2403.08295 and its released code)."""

    is_by_token = True

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__(dim, eps)
        nn.init.zeros_(self.weight)

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        y = self.divided(at_least_float32(x))
        return (y * (1 + at_least_float32(self.weight))).to(x.dtype)


class LateCastRMSNorm(RMSNorm):
    """RMSNorm that is cast behind the weight, not before it, as in OLMo 2, Helium, Gemma 3n and gpt-oss."""

    is_by_token = True

    def forward(self, x: Tensor) -> Tensor:
        y = self.divided(at_least_float32(x))
        return (at_least_float32(self.weight) * y).to(x.dtype)


class JointRMSNorm(LateCastRMSNorm):
    """RMSNorm over the channels of all N heads at once, x [B, T, N, H], as OLMo 2 norms queries and keys."""

    def __init__(self, num_heads: int, head_dim: int, eps: float) -> None:
        super().__init__(num_heads * head_dim, eps)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(-2)).view_as(x)


class HeadLayerNorm(nn.Module):
    """LayerNorm of each head of x [B, T, N, H] with a weight per head and no bias, as in Command R+ and StableLM 2."""

    def __init__(self, num_heads: int, head_dim: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_heads, head_dim))
        self.eps = eps

    def reset_parameters(self) -> None:
        nn.init.ones_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        y = at_least_float32(x)
        y = F.layer_norm(y, y.shape[-1:], eps=self.eps)
        return (at_least_float32(self.weight) * y).to(x.dtype)
