"""Mamba-2 (arXiv:2405.21060): layers that mix tokens through a short convolution and a state, and nothing else.

We follow the released code where the paper is silent: the gate comes before the norm, which is taken per group.

Shapes: B batch, T tokens, D hidden, I inner channels, C channels of the convolution, W its width, N state size.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.nn import Decoder, RMSNorm, Span, StateCache, at_least_float32

from .config import Mamba2Config
from .scan import scan, step


class Mamba2(Decoder):
    """Pre-norm mixers and a head; there is no MLP."""

    def __init__(self, c: Mamba2Config) -> None:
        super().__init__(c, (MixerLayer(c) for _ in range(c.num_layers)), RMSNorm(c.hidden_size, c.norm_eps))

    def decode(self, x: Tensor) -> Tensor:
        return self.lm_head(x.to(self.lm_head.weight.dtype))  # the residual stream may be wider


class MixerLayer(nn.Module):
    """x + mixer(norm(x))."""

    def __init__(self, c: Mamba2Config) -> None:
        super().__init__()
        self.norm = RMSNorm(c.hidden_size, c.norm_eps)
        self.mixer = Mixer(c)
        self.widen = at_least_float32 if c.residual_in_float32 else nn.Identity()

    def forward(self, x: Tensor, span: Span, cache: StateCache | None = None) -> Tensor:
        return self.widen(x) + self.mixer(self.norm(x.to(self.norm.weight.dtype)), span, cache)

    def new_cache(self, batch_size: int, max_len: int) -> StateCache:
        """A state of zeros, the same size for any `max_len`."""
        return self.mixer.new_cache(batch_size)


class Mixer(nn.Module):
    """Project, convolve, scan, gate and norm, project back."""

    def __init__(self, c: Mamba2Config) -> None:
        super().__init__()
        self.grouped = (c.num_groups, c.num_heads // c.num_groups)
        self.head_dim, self.state_size, self.chunk_size = c.head_dim, c.state_size, c.chunk_size
        self.time_step = c.time_step_min, c.time_step_max
        shared = c.num_groups * c.state_size
        self.parts, self.conv_parts = (c.inner_size, c.conv_size, c.num_heads), (c.inner_size, shared, shared)
        self.in_proj = nn.Linear(c.hidden_size, sum(self.parts), c.has_bias)
        self.conv = nn.Conv1d(c.conv_size, c.conv_size, c.conv_kernel, groups=c.conv_size, bias=c.has_conv_bias)
        self.A_log = nn.Parameter(torch.empty(c.num_heads))
        self.D = nn.Parameter(torch.empty(c.num_heads))
        self.dt_bias = nn.Parameter(torch.empty(c.num_heads))
        self.norm = GatedRMSNorm(c.inner_size, c.norm_eps, num_groups=c.num_groups)
        self.out_proj = nn.Linear(c.inner_size, c.hidden_size, c.has_bias)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Decays from 1 to 16, steps from 0.001 to 0.1, evenly on a logarithmic scale."""
        nn.init.uniform_(self.A_log, 0.0, math.log(16))
        nn.init.ones_(self.D)
        nn.init.uniform_(self.dt_bias, math.log(1e-3), math.log(1e-1))
        with torch.no_grad():  # the softplus in `forward` gives exp(u) back
            self.dt_bias.add_(torch.log(-torch.expm1(-self.dt_bias.exp()) / self.dt_bias.exp()))

    def forward(self, x: Tensor, span: Span, cache: StateCache | None = None) -> Tensor:
        """Mix x [B, T, D] along T, going on from the cache; returns [B, T, D]."""
        state = self.new_cache(x.shape[0]) if cache is None else cache
        rows = None if span.padding is None else Rows(span.padding)
        x = x if rows is None else rows.pack(x)
        gate, mixed, dt = self.in_proj(x).split(self.parts, -1)
        mixed = F.silu(self._convolve(mixed, state, rows))
        dt = F.softplus(at_least_float32(dt) + at_least_float32(self.dt_bias)).clamp(*self.time_step)
        if rows is not None:
            dt = dt.masked_fill(~rows.is_real[..., None], 0)  # a step of no length leaves the state as it is
        y = self.out_proj(self.norm(self._scan(mixed, dt, state), gate))
        return y if rows is None else rows.unpack(y)

    def _convolve(self, x: Tensor, state: StateCache, rows: Rows | None) -> Tensor:
        """Each token of x [B, T, C] with the W - 1 before it; keeps the last W - 1 real ones."""
        seen = torch.cat((state["conv"], x), 1)  # [B, W - 1 + T, C]
        kept = state["conv"].shape[1]
        state["conv"] = seen[:, seen.shape[1] - kept :] if rows is None else rows.last(seen, kept)
        return self.conv(seen.mT).mT

    def _scan(self, mixed: Tensor, dt: Tensor, state: StateCache) -> Tensor:
        """y [B, T, I] of the convolved [B, T, C] and the steps dt [B, T, heads]."""
        groups = self.grouped
        x, b, c = at_least_float32(mixed).split(self.conv_parts, -1)
        x = x.unflatten(-1, (*groups, self.head_dim))
        b, c = (part.unflatten(-1, (groups[0], self.state_size)) for part in (b, c))
        dt, a = dt.unflatten(-1, groups), -torch.exp(at_least_float32(self.A_log)).view(groups)
        if x.shape[1] == 1:
            y, state["ssm"] = step(x[:, 0], dt[:, 0], a, b[:, 0], c[:, 0], state["ssm"])
            y = y[:, None]
        else:
            y, state["ssm"] = scan(x, dt, a, b, c, state["ssm"], chunk_size=self.chunk_size)
        y = y + self.D.view(*groups, 1) * x
        return y.flatten(2).to(mixed.dtype)

    def new_cache(self, batch_size: int) -> StateCache:
        """Zeros: the convolution's last inputs in the dtype of the weights, the scan's state in float32 at least."""
        like = self.in_proj.weight
        conv = like.new_zeros(batch_size, self.conv.kernel_size[0] - 1, self.conv.in_channels)
        ssm = at_least_float32(like.new_zeros(batch_size, *self.grouped, self.head_dim, self.state_size))
        return StateCache(conv=conv, ssm=ssm)


class Rows:
    """Rows with padding, packed so that each begins with its real tokens, in their order: a state knows no gaps."""

    def __init__(self, padding: Tensor) -> None:
        self.order = (~padding).long().argsort(dim=1, stable=True)  # [B, T]
        self.back = self.order.argsort(1)
        self.is_real = padding.gather(1, self.order)
        self.counts = padding.sum(1)

    def pack(self, x: Tensor) -> Tensor:
        """x [B, T, D] with the real tokens first."""
        return _taken(x, self.order)

    def unpack(self, x: Tensor) -> Tensor:
        """What `pack` gave, in the order before."""
        return _taken(x, self.back)

    def last(self, seen: Tensor, kept: int) -> Tensor:
        """The last `kept` real ones of packed tokens [B, kept + T, D] that follow `kept` earlier ones."""
        return _taken(seen, self.counts[:, None] + torch.arange(kept, device=seen.device))


class GatedRMSNorm(RMSNorm):
    """RMSNorm per group of channels, of what a gate lets through."""

    def __init__(self, dim: int, eps: float, *, num_groups: int) -> None:
        super().__init__(dim, eps)
        self.num_groups = num_groups

    def forward(self, x: Tensor, gate: Tensor) -> Tensor:
        """x and gate [B, T, I]."""
        y = at_least_float32(x) * F.silu(at_least_float32(gate))
        y = y.unflatten(-1, (self.num_groups, -1))
        y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + self.eps)
        return self.weight * y.flatten(-2).to(x.dtype)


def _taken(x: Tensor, index: Tensor) -> Tensor:
    """x [B, S, D] at index [B, K] of its second dimension."""
    return x.gather(1, index[..., None].expand(-1, -1, x.shape[-1]))
