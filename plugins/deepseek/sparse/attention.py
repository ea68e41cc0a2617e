"""Latent attention to the keys that an indexer chooses: DeepSeek Sparse Attention (arXiv:2512.02556).

A query reads at most `num_chosen` of the tokens before it, those that score highest. The score is cheap: a few narrow
heads, one key for all of them, and no softmax: sum over heads of weight * relu(q k). Where the text is no longer than
that, nothing is scored and it is plain latent attention.

Shapes: B batch, T queries, S keys, D hidden, Q queries squeezed (q_lora_rank), J heads of the indexer, I their width,
R rope dim.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.errors import UsageError
from zoo.nn import (
    NEW,
    Attend,
    KVCache,
    LatentAttention,
    Mask,
    Rope,
    Span,
    at_least_float32,
    causal,
    computed_by,
    matrix_of,
)

NORM_EPS = 1e-6  # of the LayerNorm of the indexer's keys in the released code, whatever the model's norm_eps
AT_ONCE = 1 << 24  # scores of one head that are held at a time: a long text is scored some queries after the other


class WrittenOut(Mask):
    """The causal mask as a matrix, also where a kernel could do without."""

    def __call__(self, q: Tensor, k: Tensor) -> Tensor:
        return k <= q


written_out = WrittenOut()


class SparseLatentAttention(LatentAttention):
    """Latent attention of which each query reads no more than `num_chosen` keys.

    The indexer of layer `chosen_by` chooses them: its own, where there is an `indexer`, or that of an earlier layer,
    which leaves its choice in the span. The cache keeps the indexer's key beside the rotary one.
    """

    def __init__(
        self, *args: Any, indexer: Indexer | None, chosen_by: int, num_chosen: int, is_source: bool, **named: Any
    ) -> None:
        super().__init__(*args, **named)
        self.indexer, self.chosen_by, self.num_chosen, self.is_source = indexer, chosen_by, num_chosen, is_source

    def forward(self, x: Tensor, span: Span, cache: KVCache | None = None) -> Tensor:
        """Attend x [B, T, D] to what is chosen of itself and of what `cache` holds; returns [B, T, D]."""
        assert self.q_down is not None
        assert self.q_norm is not None
        assert self.q_up is not None
        squeezed = self.q_norm(self.q_down(x))
        q_nope, q_rope, latent, key = self._placed(x, self.q_up(squeezed), span)
        if self.indexer is not None:
            key = torch.cat((key, self.indexer.keys(x, span)), -1)  # [B, T, 1, R + I]
        key, latent, keys = (key, latent, NEW) if cache is None else cache.append(key, latent, span)
        k_rope, index = key[..., : self.rope_dim], key[..., self.rope_dim :]
        if key.shape[1] <= self.num_chosen:
            allowed, is_causal = span.allowed(causal, keys), span.is_causal(causal, keys)
        else:
            allowed, is_causal = span.allowed(written_out, keys), False
            assert allowed is not None
            allowed = allowed & self._chosen(x, squeezed, index, allowed, span)
        attend = partial(Attend(self.scale), allowed=allowed, is_causal=is_causal)
        return self._attended(q_nope, q_rope, latent, k_rope, attend)

    def _chosen(self, x: Tensor, squeezed: Tensor, index: Tensor, allowed: Tensor, span: Span) -> Tensor:
        """The keys that each query may read, [B, T, S]."""
        if self.indexer is not None:
            chosen = self.indexer(x, squeezed, index, allowed, span, self.num_chosen)
            if self.is_source:
                span.chosen[self.chosen_by] = chosen
            return chosen
        if self.chosen_by not in span.chosen:
            what = f"a layer reads the keys that layer {self.chosen_by} chooses, which was not computed in this pass"
            raise UsageError(what, hint="compute both in one place: cut the model by tp, which knows no stages")
        return span.chosen[self.chosen_by]

    def new_cache(self, batch_size: int, max_len: int) -> KVCache:
        """An empty cache of C + R numbers per token, and I more for the indexer's key, where there is an indexer."""
        width = self.rope_dim + (0 if self.indexer is None else self.indexer.head_dim)
        return KVCache(batch_size, max_len, 1, width, v_dim=self.rank, **computed_by(self.kv_down, self))


class Indexer(nn.Module):
    """The "lightning indexer", which scores every token before a query and keeps the best.

    Its parameters learn from a loss of their own in the paper and from no other: no gradient passes through a choice.
    The released code rotates queries and keys by a Hadamard matrix, which leaves their products as they are, and rounds
    them to 8 bits; here they are not rounded.
    """

    def __init__(self, hidden_size: int, q_lora_rank: int, *, num_heads: int, head_dim: int, rope: Rope) -> None:
        super().__init__()
        self.num_heads, self.head_dim, self.rope = num_heads, head_dim, rope
        self.q_up = nn.Linear(q_lora_rank, num_heads * head_dim, bias=False)
        self.k_proj = nn.Linear(hidden_size, head_dim, bias=False)
        self.k_norm = nn.LayerNorm(head_dim, NORM_EPS)
        self.head_weights = nn.Linear(hidden_size, num_heads, bias=False)
        self.requires_grad_(False)

    @torch.no_grad()
    def keys(self, x: Tensor, span: Span) -> Tensor:
        """The keys [B, T, 1, I] of x [B, T, D], whose first R channels rotate."""
        return self.rope.rotate(self.k_norm(self.k_proj(x))[:, :, None], span.rotation(self.rope, x.dtype))

    @torch.no_grad()
    def forward(self, x: Tensor, squeezed: Tensor, keys: Tensor, allowed: Tensor, span: Span, count: int) -> Tensor:
        """Which `count` of the keys [B, S, 1, I] the queries read, of those `allowed` [B or 1, T, S]: [B, T, S].

        x [B, T, D] and squeezed [B, T, Q] are those of the queries.
        """
        q = self.q_up(squeezed).unflatten(-1, (self.num_heads, -1))
        q = at_least_float32(self.rope.rotate(q, span.rotation(self.rope, x.dtype)))
        k = at_least_float32(keys[:, :, 0]).mT  # [B, I, S]
        weights = F.linear(at_least_float32(x), at_least_float32(matrix_of(self.head_weights, x)))
        weights = weights * self.num_heads**-0.5
        step, found = max(1, AT_ONCE // (q.shape[0] * self.num_heads * k.shape[-1])), []
        for rows, gains, seen in zip(q.split(step, 1), weights.split(step, 1), allowed.split(step, 1), strict=True):
            scores = F.relu(rows.flatten(1, 2) @ k * self.head_dim**-0.5).unflatten(1, (-1, self.num_heads))
            scores = (gains[:, :, None] @ scores)[:, :, 0]
            found.append(best(scores.masked_fill(~seen, float("-inf")), count))
        return torch.cat(found, 1)


def best(scores: Tensor, count: int) -> Tensor:
    """True where a score is one of the `count` highest of its row, of equal ones the first: [..., S], S >= `count`.

    A key's number does not depend on padding or on what is cached, so that neither changes the choice among equals.
    """
    scores = scores.nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=-torch.inf)  # as torch's topk ranks it
    least = scores.topk(count, -1).values[..., -1:]
    above, equal = scores > least, scores == least
    return above | (equal & (equal.cumsum(-1) <= count - above.sum(-1, keepdim=True)))
