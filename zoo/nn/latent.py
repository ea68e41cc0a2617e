"""Multi-head latent attention (arXiv:2405.04434).

Shapes: B batch, T queries, S keys, D hidden, N heads, P nope dim, R rope dim, V value dim, C latent (kv_lora_rank).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from zoo.anatomy.cuts import LATENT_HEADS
from zoo.nn.attend import Attend
from zoo.nn.compute import computed_by, matrix_of, unchanged
from zoo.nn.keys import NEW
from zoo.nn.kv_cache import KVCache
from zoo.nn.mask import causal
from zoo.nn.norm import RMSNorm
from zoo.nn.rope import Rope
from zoo.nn.span import Bias, Span

LORA_NORM_EPS = 1e-6  # of both low-rank norms in the released code, whatever the model's norm_eps


class LatentAttention(nn.Module):
    """Attention whose keys and values are rebuilt from one latent per token, which all heads share.

    The cache keeps that latent (C) and one rotary key (R) per token and layer, nothing else. One new token at a time
    is attended in latent space, with the up-projections absorbed into query and output; longer spans expand.
    Without `rope` the R channels do not rotate; `bias` is added to the scores. Latent and rotary key are whole on every
    rank, whose heads are some of all: what `enter` is given there is used by those alone.
    """

    cuts = LATENT_HEADS
    last_part = "o_proj"
    enter = staticmethod(unchanged)

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        *,
        rope: Rope | None,
        q_lora_rank: int | None,
        kv_lora_rank: int,
        nope_head_dim: int,
        rope_head_dim: int,
        v_head_dim: int,
        scale: float,
        has_bias: bool = False,
        bias: Bias | None = None,
    ) -> None:
        super().__init__()
        self.num_heads, self.rope, self.scale, self.bias = num_heads, rope, scale, bias
        self.nope_dim, self.rope_dim, self.v_dim, self.rank = nope_head_dim, rope_head_dim, v_head_dim, kv_lora_rank
        width = num_heads * (nope_head_dim + rope_head_dim)
        self.q_proj = nn.Linear(hidden_size, width, bias=False) if q_lora_rank is None else None
        self.q_down = nn.Linear(hidden_size, q_lora_rank, bias=has_bias) if q_lora_rank is not None else None
        self.q_norm = RMSNorm(q_lora_rank, LORA_NORM_EPS) if q_lora_rank is not None else None
        self.q_up = nn.Linear(q_lora_rank, width, bias=False) if q_lora_rank is not None else None
        self.kv_down = nn.Linear(hidden_size, kv_lora_rank + rope_head_dim, bias=has_bias)
        self.kv_norm = RMSNorm(kv_lora_rank, LORA_NORM_EPS)
        self.kv_up = nn.Linear(kv_lora_rank, num_heads * (nope_head_dim + v_head_dim), bias=False)
        self.o_proj = nn.Linear(num_heads * v_head_dim, hidden_size, bias=has_bias)

    def forward(self, x: Tensor, span: Span, cache: KVCache | None = None) -> Tensor:
        """Attend x [B, T, D] to itself and to what `cache` holds; returns [B, T, D]."""
        q_nope, q_rope, latent, k_rope = self._placed(x, self._queries(x), span)
        k_rope, latent, keys = (k_rope, latent, NEW) if cache is None else cache.append(k_rope, latent, span)
        allowed, is_causal = span.allowed(causal, keys), span.is_causal(causal, keys)
        bias = None if self.bias is None else span.bias(self.bias, keys)
        attend = partial(Attend(self.scale), allowed=allowed, is_causal=is_causal, bias=bias)
        return self._attended(q_nope, q_rope, latent, k_rope, attend)

    def new_cache(self, batch_size: int, max_len: int) -> KVCache:
        """An empty cache of C + R numbers per token: the rotary key as the one key head, the latent as its value."""
        like = computed_by(self.kv_down, self)
        return KVCache(batch_size, max_len, 1, self.rope_dim, v_dim=self.rank, **like)

    def _queries(self, x: Tensor) -> Tensor:
        if self.q_down is None or self.q_norm is None or self.q_up is None:
            assert self.q_proj is not None
            return self.q_proj(x)
        return self.q_up(self.q_norm(self.q_down(x)))

    def _placed(self, x: Tensor, q: Tensor, span: Span) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Queries [B, T, N, P] and [B, T, N, R], latent [B, T, 1, C] and rotary key [B, T, 1, R] of x and its q."""
        q_nope, q_rope = q.unflatten(-1, (self.num_heads, -1)).split([self.nope_dim, self.rope_dim], -1)
        latent, k_rope = self.kv_down(x).split([self.rank, self.rope_dim], -1)
        k_rope = self.enter(k_rope)[:, :, None]
        if self.rope is not None:
            rotation = span.rotation(self.rope, x.dtype)
            q_rope, k_rope = self.rope.rotate(q_rope, rotation), self.rope.rotate(k_rope, rotation)
        return q_nope, q_rope, self.kv_norm(latent)[:, :, None], k_rope

    def _attended(
        self, q_nope: Tensor, q_rope: Tensor, latent: Tensor, k_rope: Tensor, attend: Callable[..., Tensor]
    ) -> Tensor:
        """What the heads give, projected: [B, T, D]."""
        way = self._absorbed if q_nope.shape[1] == 1 else self._expanded
        return self.o_proj(way(q_nope, q_rope, latent, k_rope, attend).flatten(-2))

    def _expanded(
        self, q_nope: Tensor, q_rope: Tensor, latent: Tensor, k_rope: Tensor, attend: Callable[..., Tensor]
    ) -> Tensor:
        kv = self.kv_up(latent[:, :, 0]).unflatten(-1, (self.num_heads, -1))
        k_nope, v = kv.split([self.nope_dim, self.v_dim], -1)
        q = torch.cat((q_nope, q_rope), -1)
        k = torch.cat((k_nope, k_rope.expand(-1, -1, self.num_heads, -1)), -1)
        return attend(q, k, v)

    def _absorbed(
        self, q_nope: Tensor, q_rope: Tensor, latent: Tensor, k_rope: Tensor, attend: Callable[..., Tensor]
    ) -> Tensor:
        latent = self.enter(latent)
        up = matrix_of(self.kv_up, latent).unflatten(0, (self.num_heads, -1))  # [N, P + V, C]
        k_up, v_up = up.split([self.nope_dim, self.v_dim], 1)
        q = torch.cat((torch.einsum("btnp,npc->btnc", q_nope, k_up), q_rope), -1)
        k = torch.cat((latent, k_rope), -1)  # [B, S, 1, C + R]
        out = attend(q, k, latent)  # [B, T, N, C]
        return torch.einsum("btnc,nvc->btnv", out, v_up)
