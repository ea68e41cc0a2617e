"""Keys and values in 8 bits: integers, and one scale for each token and head.

Shapes: B batch, K key/value heads, S slots, H head dim.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from zoo.errors import UsageError
from zoo.nn.cache import Cache
from zoo.nn.cross import DecoderLayerCache
from zoo.nn.kv_cache import KVCache
from zoo.nn.unwritten import Unwritten, unallocated

SCALE_BYTES = 2  # bfloat16


class RoundedNumbers:
    """Stands for a tensor [B, K, S, H] that is written and read by its first three dimensions."""

    def __init__(self, codes: Tensor, scales: Tensor, dtype: torch.dtype) -> None:
        self.codes, self.scales, self.dtype = codes, scales, dtype

    @classmethod
    def empty(cls, like: Tensor | Unwritten) -> RoundedNumbers:
        """Zeros of the shape of `like`, read in its dtype."""
        scales = torch.ones(*like.shape[:-1], 1, dtype=torch.bfloat16, device=like.device)
        return cls(torch.zeros(like.shape, dtype=torch.int8, device=like.device), scales, like.dtype)

    def __getitem__(self, index: Any) -> Tensor:
        return self.codes[index].to(self.dtype) * self.scales[index].to(self.dtype)

    def __setitem__(self, index: Any, new: Tensor) -> None:
        self.codes[index], self.scales[index] = _codes(new)

    def rounded(self, new: Tensor) -> Tensor:
        """What would be read of `new` [..., H] once it was written."""
        codes, scales = _codes(new)
        return codes.to(self.dtype) * scales.to(self.dtype)

    def new_zeros(self, *shape: int) -> RoundedNumbers:
        """Zeros of another shape, read in the same dtype."""
        return RoundedNumbers.empty(torch.empty(shape, dtype=self.dtype, device=self.codes.device))

    @property
    def nbytes(self) -> int:
        """Bytes of codes and scales."""
        return self.codes.nbytes + self.scales.nbytes

    @property
    def shape(self) -> torch.Size:
        """B, K, S, H."""
        return self.codes.shape

    def to(self, other: Tensor) -> RoundedNumbers:
        """On the device of `other`, and read in its dtype."""
        return RoundedNumbers(self.codes.to(other.device), self.scales.to(other.device), other.dtype)

    def index_select(self, dim: int, index: Tensor) -> RoundedNumbers:
        """Some rows of the batch."""
        codes, scales = (part.index_select(dim, index) for part in (self.codes, self.scales))
        return RoundedNumbers(codes, scales, self.dtype)


def _codes(new: Tensor) -> tuple[Tensor, Tensor]:
    """Integers and scales of numbers [..., H]."""
    scales = (new.float().abs().amax(-1, keepdim=True) / 127).to(torch.bfloat16)
    scales = torch.where(scales == 0, torch.ones_like(scales), scales)
    return (new.float() / scales.float()).round_().clamp_(-128, 127).to(torch.int8), scales


def int8_cache(model: Any, batch_size: int, max_len: int) -> Any:
    """A model's empty cache in 8 bits, which never takes the memory of one that is not."""
    with unallocated():
        return in_int8(model.new_cache(batch_size, max_len))


def in_int8(cache: Any) -> Any:
    """An empty cache whose keys and values, latents too, are kept in 8 bits; states and a source's stay as they are.

    Raises UsageError for a cache that has read something, or that keeps no keys and values as zoo.nn.KVCache does.
    """
    if not isinstance(cache, Cache) or cache.length:
        raise UsageError("only an empty cache of zoo's can be kept in int8", hint="in_int8(model.new_cache(1, 512))")
    owned = [layer.own if isinstance(layer, DecoderLayerCache) else layer for layer in cache.layers]
    held = [layer for layer in owned if isinstance(layer, KVCache)]
    if not held:
        raise UsageError("cache=int8: no layer of this model keeps keys and values")
    for layer in held:
        layer.k, layer.v = RoundedNumbers.empty(layer.k), RoundedNumbers.empty(layer.v)
    return cache
