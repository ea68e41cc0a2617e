"""Gated DeltaNet: a layer that mixes tokens through a short convolution and the gated delta rule (arXiv:2412.06464).

We follow the code released with Qwen3-Next where it differs from the paper: silu behind the convolution, keys and
queries made unit vectors, the result normed per head before the gate.

Shapes: B batch, T tokens, D hidden, N value heads, G key heads, K channels of a key, V of a value, W width of the
convolution, C = 2 * G * K + N * V its channels.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.nn.compute import computed_by
from zoo.nn.delta_rule import delta_chunks, delta_step
from zoo.nn.norm import RMSNorm, at_least_float32
from zoo.nn.ragged import RealFirst, last_of
from zoo.nn.retraced import RetracedCache
from zoo.nn.span import Span

UNIT_EPS = 1e-6  # of the released code, added to the squares of a key or query


class GatedDeltaNet(nn.Module):
    """Project, convolve, write and read by the delta rule, norm and gate, project back."""

    def __init__(
        self, hidden_size: int, num_key_heads: int, num_heads: int, key_dim: int, value_dim: int, *,
        conv_kernel: int, norm_eps: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.num_heads, self.key_dim, self.value_dim = num_heads, key_dim, value_dim
        self.repeats = num_heads // num_key_heads  # value heads that share a key head
        keys, values = num_key_heads * key_dim, num_heads * value_dim
        self.parts = (keys, keys, values)
        self.q_proj = nn.Linear(hidden_size, keys, False)
        self.k_proj = nn.Linear(hidden_size, keys, False)
        self.v_proj = nn.Linear(hidden_size, values, False)
        self.gate_proj = nn.Linear(hidden_size, values, False)
        self.beta_proj = nn.Linear(hidden_size, num_heads, False)
        self.decay_proj = nn.Linear(hidden_size, num_heads, False)
        self.conv = nn.Conv1d(sum(self.parts), sum(self.parts), conv_kernel, groups=sum(self.parts), bias=False)
        self.A_log = nn.Parameter(torch.empty(num_heads))
        self.dt_bias = nn.Parameter(torch.empty(num_heads))
        self.norm = GatedNorm(value_dim, norm_eps)
        self.o_proj = nn.Linear(values, hidden_size, False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Decays spread from 0.01 to 16 per step, as released."""
        nn.init.uniform_(self.A_log, math.log(0.01), math.log(16))
        nn.init.ones_(self.dt_bias)

    def forward(self, x: Tensor, span: Span, cache: RetracedCache | None = None) -> Tensor:
        """Mix x [B, T, D] along T, going on from the cache; returns [B, T, D]."""
        state = self.new_cache(x.shape[0]) if cache is None else cache
        rows = None if span.padding is None else RealFirst(span.padding)
        x = x if rows is None else rows.pack(x)
        mixed = torch.cat((self.q_proj(x), self.k_proj(x), self.v_proj(x)), -1)
        before, seen = state.state, torch.cat((state["conv"].to(x.dtype), mixed), 1)  # [B, W - 1 + T, C]
        mixed, (g, beta) = F.silu(self.conv(seen.mT).mT), self._gates(x, rows)
        y, after = self._delta(mixed, g, beta, before["state"])
        state.state = {"conv": self._kept(seen, rows), "state": after}
        state.note(before, {"seen": seen, "mixed": mixed, "g": g, "beta": beta}, span)
        y = y.to(x.dtype)
        gate = self.gate_proj(x).unflatten(-1, (-1, self.value_dim))
        y = self.o_proj(self.norm(y, gate).flatten(-2))
        return y if rows is None else rows.unpack(y)

    def _gates(self, x: Tensor, rows: RealFirst | None) -> tuple[Tensor, Tensor]:
        """The logarithm of each token's decay, and the share that it overwrites, [B, T, N], in float32 at least."""
        beta = at_least_float32(self.beta_proj(x).sigmoid())
        step = F.softplus(at_least_float32(self.decay_proj(x)) + at_least_float32(self.dt_bias))
        g = -at_least_float32(self.A_log).exp() * step
        if rows is None:
            return g, beta
        hidden = ~rows.is_real[..., None]  # padding neither decays the state nor writes into it
        return g.masked_fill(hidden, 0), beta.masked_fill(hidden, 0)

    def _kept(self, seen: Tensor, rows: RealFirst | None) -> Tensor:
        """The last W - 1 real inputs of the convolution, of those that it has seen."""
        kept = self.conv.kernel_size[0] - 1
        return seen[:, seen.shape[1] - kept :] if rows is None else rows.last(seen, kept)

    def _delta(self, mixed: Tensor, g: Tensor, beta: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """What is read, [B, T, N, V], of the convolved [B, T, C], and the state behind it."""
        q, k, v = at_least_float32(mixed).split(self.parts, -1)
        q, k = (unit(part.unflatten(-1, (-1, self.key_dim))).repeat_interleave(self.repeats, 2) for part in (q, k))
        q, v = q * self.key_dim**-0.5, v.unflatten(-1, (-1, self.value_dim))
        if mixed.shape[1] == 1:
            one, state = delta_step(q[:, 0], k[:, 0], v[:, 0], g[:, 0], beta[:, 0], state)
            return one[:, None], state
        return delta_chunks(q, k, v, g, beta, state)

    def _retrace(self, before: dict[str, Tensor], read: dict[str, Tensor], counts: Tensor) -> dict[str, Tensor]:
        """The state behind the first `counts` [B] real tokens of a pass: the others neither decay it nor write."""
        is_gone = torch.arange(read["g"].shape[1], device=counts.device) >= counts[:, None]
        g, beta = (read[name].masked_fill(is_gone[..., None], 0) for name in ("g", "beta"))
        conv = last_of(read["seen"], counts, self.conv.kernel_size[0] - 1)
        return {"conv": conv, "state": self._delta(read["mixed"], g, beta, before["state"])[1]}

    def new_cache(self, batch_size: int) -> RetracedCache:
        """Zeros: the convolution's last inputs in the dtype of the weights, the state in float32 at least."""
        like = computed_by(self.q_proj, self)
        empty = torch.zeros(batch_size, self.num_heads, self.key_dim, self.value_dim, device=like["device"])
        conv = torch.zeros(
            batch_size, self.conv.kernel_size[0] - 1, sum(self.parts), dtype=like["dtype"], device=like["device"]
        )
        return RetracedCache(
            self._retrace, conv=conv, state=empty.to(torch.promote_types(like["dtype"], torch.float32))
        )


class GatedNorm(RMSNorm):
    """RMSNorm, then times silu of a gate, which is computed in float32 at least."""

    def forward(self, x: Tensor, gate: Tensor) -> Tensor:  # type: ignore[override]  # a gate besides
        """x and gate [..., V]."""
        return (super().forward(x) * F.silu(at_least_float32(gate))).to(x.dtype)


def unit(x: Tensor) -> Tensor:
    """x [..., K] as unit vectors."""
    return x * torch.rsqrt(x.square().sum(-1, keepdim=True) + UNIT_EPS)
