"""Bytes that a rank takes, by arithmetic on what the blocks declare. Needs no torch."""

from __future__ import annotations

from math import prod

from zoo.anatomy.builder import Anatomy
from zoo.anatomy.records import AttentionSpec
from zoo.anatomy.size import Size, item_bytes
from zoo.parallel.shares import local_shape, tensor_share


def weight_numbers(anatomy: Anatomy, tp: int, rank: int = 0) -> int:
    """Parameters that a rank of so many holds."""
    return sum(
        prod(local_shape(w.shape, tensor_share(w.shares), tp, rank)) * (1 if w.layers is None else len(w.layers))
        for w in anatomy.weights
    )


def cached_numbers(a: AttentionSpec, tp: int) -> int:
    """Numbers that one token adds to the cache of a rank in each of these layers; a latent is whole on each."""
    if not a.cached or a.is_whole or a.decode_dims is not None:
        return a.cached
    kv_heads = a.cached // (a.qk_dim + a.v_dim)
    return max(1, kv_heads // tp) * (a.qk_dim + a.v_dim)


def cache_bytes(anatomy: Anatomy, length: int, batch: int, dtype: str, tp: int) -> int:
    """Bytes of a rank's cache; states are whole on each."""
    size = Size(anatomy, dtype)
    numbers = 0
    for a in anatomy.attention:
        kept = length if a.window is None or not a.is_causal else min(a.window, length)
        numbers += len(a.layers) * cached_numbers(a, tp) * kept
    return batch * (numbers * item_bytes(dtype) + size.state_bytes(dtype))
