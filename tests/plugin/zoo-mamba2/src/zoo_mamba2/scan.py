"""The selective scan of Mamba-2: a linear recurrence whose decay and input depend on the token (arXiv:2405.21060).

    state = exp(dt * A) * state + dt * x B^T        read as        y = state C

per head, with one decay for the whole head. Over many tokens the same numbers come out of matrix products within
chunks (section 6 of the paper), which carry the state from one to the next.

Shapes: B batch, T tokens, Q tokens of a chunk, G groups, R heads per group, P channels per head, N state size.
"""

from __future__ import annotations

import torch
from torch import Tensor


def step(x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """One token: y [B, G, R, P] and the new state [B, G, R, P, N].

    x [B, G, R, P], dt [B, G, R], a [G, R] (negative), b and c [B, G, N].
    """
    written = (dt[..., None] * x)[..., None] * b[:, :, None, None]
    state = torch.exp(dt * a)[..., None, None] * state + written
    return torch.einsum("bgrpn,bgn->bgrp", state, c), state


def scan(
    x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, state: Tensor, *, chunk_size: int
) -> tuple[Tensor, Tensor]:
    """All tokens: y [B, T, G, R, P] and the last state [B, G, R, P, N].

    x [B, T, G, R, P], dt [B, T, G, R], a [G, R] (negative), b and c [B, T, G, N].
    """
    out = []
    for part in zip(*(tensor.split(chunk_size, 1) for tensor in (x, dt, b, c)), strict=True):
        y, state = _chunk(*part, a, state)
        out.append(y)
    return torch.cat(out, 1), state


def _chunk(x: Tensor, dt: Tensor, b: Tensor, c: Tensor, a: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    steps = (dt * a).permute(0, 2, 3, 1)  # [B, G, R, Q]
    decay = torch.exp(_sums_between(steps))
    since_start = torch.exp(steps.cumsum(-1))
    written = dt[..., None] * x
    scores = torch.einsum("bign,bjgn->bgij", c, b)[:, :, None] * decay  # [B, G, R, Q, Q]
    y = torch.einsum("bgrij,bjgrp->bigrp", scores, written)
    y = y + torch.einsum("bign,bgrpn->bigrp", c, state) * since_start.permute(0, 3, 1, 2)[..., None]
    left = decay[..., -1, :].permute(0, 3, 1, 2)[..., None] * written  # what is left of each token at the end
    state = since_start[..., -1][..., None, None] * state + torch.einsum("bjgrp,bjgn->bgrpn", left, b)
    return y, state


def _sums_between(steps: Tensor) -> Tensor:
    """The sum of steps [..., Q] after j up to i, at [..., i, j]; -inf where j is later than i.

    Each sum is taken by itself: as a difference of two long sums it would lose its digits to them.
    """
    size = steps.shape[-1]
    ones = torch.ones(size, size, dtype=torch.bool, device=steps.device)
    sums = steps[..., :, None].expand(*steps.shape, size).masked_fill(~ones.tril(-1), 0).cumsum(-2)
    return sums.masked_fill(~ones.tril(), -torch.inf)
