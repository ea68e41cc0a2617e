"""Attention as one writes it on a blackboard: float64, one query and one head at a time, no mask, cache or padding.

The tests of zoo.nn hold the blocks to this. A row with padding is computed on its real tokens alone.

Shapes: T tokens of one row, D hidden, N query heads, K key/value heads, H head dim.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from zoo.nn import Attention

Score = Callable[[int, int, int], float]  # (head, query position, key position) -> what is added to the score


@torch.no_grad()
def attend(attn: Attention, x: Tensor, *, bias: Score | None = None) -> Tensor:
    """What `attn` ought to make of x [T, D], the tokens at positions 0 to T - 1."""
    q, k, v = (_heads(p, x, attn.head_dim) for p in (attn.q_proj, attn.k_proj, attn.v_proj))
    if attn.q_norm is not None:
        q, k = _normed(q, attn.q_norm), _normed(k, attn.k_norm)
    if attn.rope is not None:
        frequencies = torch.tensor(attn.rope.short, dtype=torch.float64)
        q, k = (turn(t, frequencies, attn.rope.is_interleaved) * attn.rope.factor for t in (q, k))
    shared = q.shape[1] // k.shape[1]
    out = torch.zeros_like(q)
    for t in range(x.shape[0]):
        seen = [s for s in range(x.shape[0]) if _may_see(attn, t, s)]
        for n in range(q.shape[1]):
            scores = [_score(attn, q[t, n], k[s, n // shared]) + (bias(n, t, s) if bias else 0.0) for s in seen]
            out[t, n] = _softmax(scores) @ v[seen, n // shared]
    y = out.flatten(1) @ attn.o_proj.weight.double().T
    return y if attn.o_proj.bias is None else y + attn.o_proj.bias.double()


def turn(x: Tensor, frequencies: Tensor, is_interleaved: bool) -> Tensor:
    """Rotary embedding of x [T, N, H] at positions 0, 1, ... as multiplication by exp(i p f)."""
    rotary = 2 * len(frequencies)
    part, rest = x[..., :rotary], x[..., rotary:]
    if is_interleaved:
        z = torch.complex(part[..., 0::2].contiguous(), part[..., 1::2].contiguous())
    else:
        z = torch.complex(part[..., : rotary // 2].contiguous(), part[..., rotary // 2 :].contiguous())
    angles = torch.arange(x.shape[0], dtype=torch.float64)[:, None, None] * frequencies
    z = z * torch.exp(1j * angles)
    if is_interleaved:
        return torch.cat((torch.view_as_real(z).flatten(-2), rest), -1)
    return torch.cat((z.real, z.imag, rest), -1)


def by_row(attn: Attention, x: Tensor, real: Tensor, *, bias: Score | None = None) -> Tensor:
    """`attend` for every row of x [B, T, D] on the tokens that `real` [B, T] marks; zero at the others."""
    out = torch.zeros_like(x)
    for b in range(x.shape[0]):
        if real[b].any():
            out[b, real[b]] = attend(attn, x[b, real[b]], bias=bias)
    return out


def close(found: Tensor, expected: Tensor, real: Tensor | None = None, *, limit: float = 1e-12) -> None:
    """Hold `found` to `expected` where `real` says so, and to finite numbers everywhere."""
    assert found.shape == expected.shape
    assert torch.isfinite(found).all()
    difference = (found - expected).abs()
    worst = difference.flatten() if real is None else difference[real].flatten()
    assert len(worst) == 0 or worst.max() < limit, worst.max()


def _normed(x: Tensor, norm: Any) -> Tensor:
    return norm.weight.double() * x / (x.square().sum(-1, keepdim=True) / x.shape[-1] + norm.eps).sqrt()


def _heads(p: torch.nn.Linear, x: Tensor, head_dim: int) -> Tensor:
    y = x.double() @ p.weight.double().T
    y = y if p.bias is None else y + p.bias.double()
    return y.reshape(x.shape[0], -1, head_dim)


def _may_see(attn: Attention, t: int, s: int) -> bool:
    window = attn.mask.window or math.inf
    return t - window < s <= t if attn.mask.is_causal else abs(t - s) < window


def _score(attn: Attention, q: Tensor, k: Tensor) -> float:
    score = float(q @ k) * attn.scale
    return score if attn.softcap is None else attn.softcap * math.tanh(score / attn.softcap)


def _softmax(scores: list[float]) -> Tensor:
    weights = [math.exp(score - max(scores)) for score in scores]
    return torch.tensor([w / sum(weights) for w in weights], dtype=torch.float64)
