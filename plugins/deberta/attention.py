"""Disentangled attention: scores of words, and of words and distances (arXiv:2006.03654, section 3.1).

Shapes: B batch, T tokens, D hidden, N heads, H head dim, R rows of the table of distances.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from zoo.nn import Attend, Span, everything

from .config import DebertaConfig


class Distances(NamedTuple):
    """What all layers are told of where tokens stand."""

    table: Tensor  # [R, D], a state of each kind of distance
    rows: Tensor  # [T, T], the row of the table by query and key


class DistanceTable(nn.Module):
    """A learned state of each kind of distance, shared by all layers."""

    def __init__(self, c: DebertaConfig) -> None:
        super().__init__()
        self.table = nn.Embedding(2 * c.reach, c.hidden_size)
        self.norm = nn.LayerNorm(c.hidden_size, c.norm_eps) if c.has_position_norm else None
        self.reach, self.buckets, self.max_distance = c.reach, c.position_buckets, c.max_distance

    def forward(self, num_tokens: int) -> Distances:
        """The distances among so many tokens in a row."""
        at = torch.arange(num_tokens, device=self.table.weight.device)
        found = self.bucket(at[:, None] - at[None, :]) + self.reach
        table = self.table.weight if self.norm is None else self.norm(self.table.weight)
        return Distances(table, found.clamp(0, 2 * self.reach - 1))

    def bucket(self, distance: Tensor) -> Tensor:
        """The kind of query's place minus key's: exact up to half the buckets, then by its logarithm, rounded away."""
        if self.buckets is None:
            return distance
        exact = self.buckets // 2
        # float32, and one logarithm for both, as in the reference: at max_distance - 1 their quotient is 1 exactly
        longest = torch.tensor((self.max_distance - 1) / exact, dtype=torch.float32, device=distance.device)
        growth = torch.log(distance.abs().clamp(min=1).float() / exact) / torch.log(longest)
        far = exact + torch.ceil(growth * (exact - 1)).long()
        return torch.where(distance.abs() <= exact, distance, far * distance.sign())


class DisentangledAttention(nn.Module):
    """Multi-head attention whose scores are q k, q p and p k, with p the projected distance of query and key.

    All three are divided by the root of a head's channels times the number of terms. No rank can have a share of the
    heads, for the table of distances passes through every layer.
    """

    cuts = ()

    def __init__(self, c: DebertaConfig) -> None:
        super().__init__()
        dim, self.head_dim = c.hidden_size, c.head_dim
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (nn.Linear(dim, dim) for _ in range(4))
        own = c.own_projections
        self.pos_k_proj = nn.Linear(dim, dim) if "pos_k_proj" in own else None
        self.pos_q_proj = nn.Linear(dim, dim) if "pos_q_proj" in own else None
        self.mask, self.has_c2p, self.has_p2c = everything, c.has_c2p, c.has_p2c
        self.scale = (c.head_dim * (1 + c.has_c2p + c.has_p2c)) ** -0.5

    def forward(self, x: Tensor, span: Span, distances: Distances) -> Tensor:
        """Attend x [B, T, D] to itself; returns [B, T, D]."""
        q, k, v = (self._heads(p(x)) for p in (self.q_proj, self.k_proj, self.v_proj))
        bias = None
        if self.has_c2p:
            bias = self._scores(q, self.pos_k_proj or self.k_proj, distances.table, distances.rows)
        if self.has_p2c:  # of keys by queries, which is turned over: the row is that of query minus key all the same
            turned = self._scores(k, self.pos_q_proj or self.q_proj, distances.table, distances.rows.T).mT
            bias = turned if bias is None else bias + turned
        bias = None if bias is None else bias * self.scale
        return self.o_proj(Attend(self.scale)(q, k, v, span.allowed(self.mask), bias=bias).flatten(-2))

    def _scores(self, x: Tensor, projection: nn.Linear, table: Tensor, rows: Tensor) -> Tensor:
        """x [B, T, N, H] with the projected row for each pair of tokens: [B, N, T, T]."""
        places = self._heads(projection(table)).transpose(0, 1)  # [N, R, H]
        every = x.transpose(1, 2) @ places.mT  # [B, N, T, R]
        return every.gather(-1, rows.expand(*every.shape[:2], *rows.shape))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.head_dim))
