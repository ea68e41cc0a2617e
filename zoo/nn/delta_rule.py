"""The gated delta rule: a state that forgets, and in which a key's value is overwritten (arXiv:2412.06464).

    state = exp(g) * state
    state = state + k (beta * (v - state^T k))^T        read as        y = state^T q

per head. Over many tokens the same numbers come out of matrix products within chunks and one triangular system for what
each token writes (section 3.3 of the paper), which carry the state from one chunk to the next.

Shapes: B batch, T tokens, C tokens of a chunk, N heads, K channels of a key, V of a value.
"""

from __future__ import annotations

import torch
from torch import Tensor

CHUNK = 64  # tokens at once: changes time and memory, not the result


def delta_step(q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """One token: y [B, N, V] and the new state [B, N, K, V].

    q and k [B, N, K], v [B, N, V], the logarithm g of the decay and the share beta that is overwritten [B, N].
    """
    state = state * g.exp()[..., None, None]
    written = beta[..., None] * (v - (k[:, :, None] @ state).squeeze(2))
    state = state + k[..., None] * written[:, :, None]
    return (q[:, :, None] @ state).squeeze(2), state


def delta_chunks(
    q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor, state: Tensor, *, chunk_size: int = CHUNK
) -> tuple[Tensor, Tensor]:
    """All tokens: y [B, T, N, V] and the last state [B, N, K, V].

    q and k [B, T, N, K], v [B, T, N, V], g and beta [B, T, N].
    """
    out = []
    chunks = (x.transpose(1, 2).split(chunk_size, 2) for x in (q, k, v, g, beta))
    for qs, ks, vs, gs, betas in zip(*chunks, strict=True):
        y, state = _chunk(qs, ks, vs, gs, betas, state)
        out.append(y)
    return torch.cat(out, 2).transpose(1, 2), state


def _chunk(q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """A chunk, heads before tokens: q and k [B, N, C, K], v [B, N, C, V], g and beta [B, N, C]."""
    left = g.cumsum(-1).exp()[..., None]  # of the state before the chunk, behind each token
    decay = _sums_between(g).exp()  # [B, N, C, C]
    system = beta[..., None] * (k @ k.mT) * decay  # its diagonal is taken for 1, as what a token itself writes
    wanted = beta[..., None] * (v - left * (k @ state))
    written = torch.linalg.solve_triangular(system, wanted, upper=False, unitriangular=True)
    y = left * (q @ state) + ((q @ k.mT) * decay) @ written
    state = left[..., -1:, :] * state + (decay[..., -1, :, None] * k).mT @ written
    return y, state


def _sums_between(g: Tensor) -> Tensor:
    """The sum of g [..., C] after j up to i, at [..., i, j]; -inf where j is later than i.

    Added up one by one: the difference of two running sums would lose the digits of a small one between large ones.
    """
    size = g.shape[-1]
    ones = torch.ones(size, size, dtype=torch.bool, device=g.device)
    terms = g[..., None].expand(*g.shape, size).masked_fill(~ones.tril(-1), 0)
    return terms.cumsum(-2).masked_fill(ones.triu(1), float("-inf"))
