"""Dual chunk attention: full attention whose rotary angles stay within what was trained (arXiv:2402.17463).

As released with Qwen2.5-1M (arXiv:2501.15383, and the code of vLLM), which differs from the paper in the angles at the
chunks' borders and in a temperature. Exact: every query attends to every key before it, through one softmax.

Shapes: B batch, T queries, S keys, D hidden, N query heads, K key/value heads, G = N/K, H head dim, W chunk length.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from zoo.anatomy.config import RopeConfig
from zoo.anatomy.cuts import GROUPED_HEADS
from zoo.errors import UsageError
from zoo.nn.attend import Attend
from zoo.nn.compute import computed_by
from zoo.nn.keys import NEW, Keys
from zoo.nn.kv_cache import KVCache
from zoo.nn.mask import causal
from zoo.nn.norm import at_least_float32
from zoo.nn.rope import Rope, Rotation
from zoo.nn.span import Span

QUERIES = 512  # attended at a time where a text spans chunks
SCORES = 1 << 20  # held at a time and head, so that memory does not grow with the square of the length


class RemappedRope(Rope):
    """Rotary angles of other positions than a token's own."""

    def __init__(self, head_dim: int, rope: RopeConfig, max_seq_len: int, remap: Callable[[Tensor], Tensor]) -> None:
        super().__init__(head_dim, rope, max_seq_len)
        self.remap = remap

    def forward(self, positions: Tensor, dtype: torch.dtype, lengths: Tensor | None = None) -> Rotation:
        return super().forward(self.remap(positions), dtype, lengths)


class DualChunkRope(nn.Module):
    """How tokens rotate: keys by their place in their chunk of W = chunk_size - local_size, queries by the key's age.

    `own` is the rotation of keys, and of queries towards keys of their own chunk; `previous` that of queries towards
    the chunk before, `older` towards all chunks before that, where every distance counts as the same.
    """

    def __init__(self, head_dim: int, rope: RopeConfig, max_seq_len: int, *, chunk_size: int, local_size: int) -> None:
        super().__init__()
        self.chunk_len = w = chunk_size - local_size
        self.own = RemappedRope(head_dim, rope, max_seq_len, lambda p: p % w)
        self.previous = RemappedRope(head_dim, rope, max_seq_len, lambda p: (p % w + w).clamp(max=chunk_size))
        farthest = min(2 * w - 1, chunk_size)
        self.older = RemappedRope(head_dim, rope, max_seq_len, lambda p: torch.full_like(p, farthest))


class DualChunkAttention(nn.Module):
    """Grouped-query attention over chunks; equal to zoo.nn.Attention while a text fits into `chunk_size`.

    Beyond `original_max_seq_len` tokens new keys and the scores are multiplied by s = 0.1 ln(length / original) + 1
    each, the length being that of the text so far. Cached keys keep the s of their own time, so decoding past the
    original length is not equal to one pass over the whole; the released code does the same.
    """

    cuts = GROUPED_HEADS
    last_part = "o_proj"

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        num_kv_heads: int,
        head_dim: int,
        *,
        rope: DualChunkRope,
        original_max_seq_len: int | None = None,
        has_bias: bool = False,
        has_out_bias: bool = False,
        qk_norm: Callable[[int], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.num_heads, self.num_kv_heads, self.head_dim = num_heads, num_kv_heads, head_dim
        self.q_proj = nn.Linear(hidden_size, num_heads * head_dim, has_bias)
        self.k_proj = nn.Linear(hidden_size, num_kv_heads * head_dim, has_bias)
        self.v_proj = nn.Linear(hidden_size, num_kv_heads * head_dim, has_bias)
        self.o_proj = nn.Linear(num_heads * head_dim, hidden_size, has_out_bias)
        self.q_norm = qk_norm(head_dim) if qk_norm else None
        self.k_norm = qk_norm(head_dim) if qk_norm else None
        self.rope, self.original_max_seq_len = rope, original_max_seq_len
        self.scale = head_dim**-0.5

    @property
    def constant_up_to(self) -> int | None:
        """Tokens up to which no score depends on the length of the text; None: any number."""
        return self.original_max_seq_len

    def forward(self, x: Tensor, span: Span, cache: KVCache | None = None) -> Tensor:
        """Attend x [B, T, D] to itself and to what `cache` holds; returns [B, T, D]."""
        q, k, v = (p(x).unflatten(-1, (-1, self.head_dim)) for p in (self.q_proj, self.k_proj, self.v_proj))
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        rotation = span.rotation(self.rope.own, k.dtype)
        k = self.rope.own.rotate(k, rotation)
        if self.original_max_seq_len is not None:
            s = self._temperature(span.lengths, q.dtype, self.original_max_seq_len)
            q, k = q * s, k * s
        k, v, keys = (k, v, NEW) if cache is None else cache.append(k, v, span)
        if span.start + span.num_new <= self.rope.chunk_len:
            allowed, is_causal = span.allowed(causal, keys), span.is_causal(causal, keys)
            out = Attend(self.scale)(self.rope.own.rotate(q, rotation), k, v, allowed, is_causal=is_causal)
        elif span.documents is not None:
            raise UsageError(f"several documents in a row of more than {self.rope.chunk_len} tokens are not kept apart")
        elif span.counts is None:
            out = self._across(q, k, v, span.start)
        else:
            out = self._each_row(q, k, v, span, keys)
        return self.o_proj(out.flatten(-2))

    def new_cache(self, batch_size: int, max_len: int) -> KVCache:
        """An empty cache in the dtype and on the device of the weights."""
        like = computed_by(self.k_proj, self)
        return KVCache(batch_size, max_len, self.num_kv_heads, self.head_dim, **like)

    def _temperature(self, lengths: Tensor, dtype: torch.dtype, original: int) -> Tensor:
        """s [B or 1, 1 or T, 1, 1] for rows, or tokens, of these lengths; 1 within the original length."""
        exact = torch.float64 if dtype == torch.float64 else torch.float32
        lengths = lengths if lengths.dim() == 2 else lengths[:, None]
        return (0.1 * (lengths.to(exact) / original).log() + 1).clamp(min=1)[..., None, None].to(dtype)

    def _each_row(self, q: Tensor, k: Tensor, v: Tensor, span: Span, keys: Keys) -> Tensor:
        """Rows whose tokens stand at different places, each as it would stand alone; zeros at padding."""
        assert span.padding is not None
        assert span.before is not None
        out, positions = torch.zeros_like(q), span.key_positions(keys)
        for row, start in enumerate(span.before.tolist()):
            real = span.padding[row]
            if not real.any():
                continue
            seen = positions[row] >= 0
            out[row, real] = self._across(q[row, real][None], k[row, seen][None], v[row, seen][None], start)[0]
        return out

    def _across(self, q: Tensor, k: Tensor, v: Tensor, start: int) -> Tensor:
        """Attend unrotated q [B, T, N, H], the tokens from `start` on, to rotated k and v [B, start + T, K, H]."""
        out, first, last = [], start, start + q.shape[1]
        while first < last:
            end = min(first + QUERIES, (first // self.rope.chunk_len + 1) * self.rope.chunk_len, last)
            out.append(self._within(q[:, first - start : end - start], k, v, first))
            first = end
        return torch.cat(out, 1)

    def _within(self, q: Tensor, k: Tensor, v: Tensor, first: int) -> Tensor:
        """The same for queries of one chunk, whose keys are older, of the chunk before, or of their own."""
        w, end = self.rope.chunk_len, first + q.shape[1]
        own = first // w * w
        previous = max(own - w, 0)
        positions = torch.arange(first, end, device=q.device)[None]
        mean = RunningMean()
        for rope, low, high in (
            (self.rope.older, 0, previous), (self.rope.previous, previous, own), (self.rope.own, own, end),
        ):  # fmt: skip
            rotated = rope.rotate(q, rope(positions, q.dtype)).transpose(1, 2)
            rotated = rotated.unflatten(1, (k.shape[2], -1)).flatten(2, 3)  # [B, K, G*T, H]: a key's heads as queries
            for a in range(low, high, SCORES // q.shape[1]):
                b = min(a + SCORES // q.shape[1], high)
                keys, values = (x[:, a:b].transpose(1, 2) for x in (k, v))  # [B, K, S, H]
                scores = at_least_float32(rotated @ keys.mT) * self.scale  # [B, K, G*T, S]
                if b > first:
                    later = torch.arange(a, b, device=q.device) > positions[0, :, None]
                    scores = scores.masked_fill(later.repeat(scores.shape[2] // len(later), 1), float("-inf"))
                mean.add(scores, values)
        out = mean.result.to(q.dtype).unflatten(2, (-1, q.shape[1])).flatten(1, 2)  # [B, N, T, H]
        return out.transpose(1, 2)


class RunningMean:
    """The mean of values weighted by a softmax of scores, both given piece by piece (arXiv:2205.14135).

    The first piece must hold a finite score for every query.
    """

    def __init__(self) -> None:
        self._highest = torch.tensor(float("-inf"))
        self._sum = self._values = torch.tensor(0.0)

    def add(self, scores: Tensor, values: Tensor) -> None:
        """Take in scores [..., T, S] of values [..., S, H]."""
        highest = torch.maximum(scores.detach().amax(-1, keepdim=True), self._highest.to(scores))
        weights, kept = (scores - highest).exp(), (self._highest.to(scores) - highest).exp()
        self._sum = self._sum.to(scores) * kept + weights.sum(-1, keepdim=True)
        self._values = self._values.to(scores) * kept + weights.to(values.dtype) @ values
        self._highest = highest

    @property
    def result(self) -> Tensor:
        """The mean of all that was added, [..., T, H]."""
        return self._values / self._sum
