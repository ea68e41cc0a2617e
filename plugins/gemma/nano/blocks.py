"""What stands beside attention in a layer of Gemma 3n: AltUp, LAuReL and an MLP with sparse gates.

Shapes: B batch, T tokens, D hidden, P streams.
"""

from __future__ import annotations

from statistics import NormalDist

import torch
from torch import Tensor, nn

from zoo.nn import GatedMLP, LateCastRMSNorm, at_least_float32, gelu_tanh

from .config import Gemma3nConfig


class AltUp(nn.Module):
    """Streams predicted by a small matrix per token, and corrected by what the first became (arXiv:2301.13310)."""

    def __init__(self, c: Gemma3nConfig) -> None:
        super().__init__()
        n = c.num_streams
        self.scale = nn.Parameter(torch.zeros(c.hidden_size))
        self.correction = nn.Linear(n, n, bias=False)
        self.prediction = nn.Linear(n, n * n, bias=False)
        self.router = nn.Linear(c.hidden_size, n, bias=False)
        self.router_norm = LateCastRMSNorm(c.hidden_size, c.norm_eps)

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.scale)

    def predict(self, x: Tensor) -> Tensor:
        """x [B, T, P, D], each stream with a mixture of all added."""
        mixture = self.prediction(self._route(x[..., 0, :])).unflatten(-1, (x.shape[-2], -1))  # [B, T, P, P]
        # A stream at a time: of so few, products of matrices would be mostly overhead.
        out = x
        for j, stream in enumerate(x.unbind(-2)):
            out = out + mixture[..., j, None] * stream[..., None, :]
        return out

    def correct(self, predicted: Tensor, first: Tensor) -> Tensor:
        """Each of the streams [B, T, P, D] moved by what the first has become [B, T, D], less what was predicted."""
        share = self.correction(self._route(first)) + 1.0
        return share[..., None] * (first - predicted[..., 0, :])[..., None, :] + predicted

    def _route(self, x: Tensor) -> Tensor:
        """How much each stream matters at x [B, T, D]: [B, T, P]."""
        scaled = self.router_norm(x) * torch.full((), x.shape[-1] ** -1.0, dtype=x.dtype, device=x.device)
        return torch.tanh(at_least_float32(self.router(scaled))).to(x.dtype)


class Laurel(nn.Module):
    """x plus a learned residual of low rank (arXiv:2411.07501)."""

    is_by_token = True

    def __init__(self, c: Gemma3nConfig) -> None:
        super().__init__()
        self.down_proj = nn.Linear(c.hidden_size, c.laurel_rank, bias=False)
        self.up_proj = nn.Linear(c.laurel_rank, c.hidden_size, bias=False)
        self.norm = LateCastRMSNorm(c.hidden_size, c.norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.norm(self.up_proj(self.down_proj(x)))


class SparseGatedMLP(GatedMLP):
    """A gated MLP in which gates below a quantile are 0, as if they were spread normally.

    It is whole on every rank: the quantile is that of all gates.
    """

    cuts = ()

    def __init__(self, hidden_size: int, intermediate_size: int, sparsity: float) -> None:
        super().__init__(hidden_size, intermediate_size, gelu_tanh)
        self.deviations = NormalDist().inv_cdf(sparsity)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.gate_proj(x)
        least = gate.mean(-1, keepdim=True) + self.deviations * gate.std(-1, keepdim=True, unbiased=False)
        return self.down_proj(self.act(torch.relu(gate - least)) * self.up_proj(x))
