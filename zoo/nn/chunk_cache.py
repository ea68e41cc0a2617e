"""A memory of keys and values for attention within chunks.

Shapes: B batch, T new tokens, S keys, K key/value heads, H head dim, W tokens of a chunk.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.nn.keys import ChunkKeys, Keys
from zoo.nn.kv_cache import SlidingKVCache
from zoo.nn.places import Places


class ChunkKVCache(SlidingKVCache):
    """A ring of W slots for a layer that sees the chunk of W tokens that it stands in.

    A ring has turned where a chunk begins, so that a chunk's tokens have the first slots in their order: one more token
    is given no others. In all other passes it is a ring, and the mask hides what is of an earlier chunk.
    """

    def take(self, k: Tensor, v: Tensor, span: Places) -> tuple[Tensor, Tensor, Keys]:
        found = super().take(k, v, span)
        is_step = span.num_new == 1 and span.counts is None and not torch.compiler.is_compiling()
        if not is_step or self._size != self.window:  # with slots to spare it turns elsewhere
            return found
        seen = span.start % self._size + 1
        return self.k[:, :, :seen], self.v[:, :, :seen], ChunkKeys(self._sight)
