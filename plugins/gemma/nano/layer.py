"""A layer of Gemma 3n.

Shapes: B batch, T tokens, D hidden, P streams.
"""

from __future__ import annotations

from functools import partial
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn

from zoo.nn import GatedMLP, LateCastRMSNorm, LayerCache, Mask, Rope, gelu_tanh

from ..sharing import Sharing, SharingAttention, SharingSpan
from .blocks import AltUp, Laurel, SparseGatedMLP
from .config import Gemma3nConfig


class NanoLayer(nn.Module):
    """Predict the streams, pass the first through the layer, correct them by it, add the layer's embedding."""

    is_by_token = True

    def __init__(self, c: Gemma3nConfig, number: int, rope: Rope, mask: Mask) -> None:
        super().__init__()
        self.number = number
        self.altup = AltUp(c)
        self.laurel = Laurel(c)
        shares = Sharing(c.is_global(number), has_keys=number < c.first_sharing, is_source=c.is_source(number))
        self.attn = SharingAttention(c.hidden_size, c.heads, rope=rope, mask=mask, eps=c.norm_eps, shares=shares)
        share = c.sparsity_of(number)
        self.mlp = (
            SparseGatedMLP(c.hidden_size, c.width_of(number), share)
            if share
            else GatedMLP(c.hidden_size, c.width_of(number), gelu_tanh)
        )
        norm = partial(LateCastRMSNorm, c.hidden_size, c.norm_eps)
        self.attn_norm, self.attn_post_norm, self.mlp_norm, self.mlp_post_norm = norm(), norm(), norm(), norm()
        self.layer_norm = norm()
        self.layer_gate = nn.Linear(c.hidden_size, c.layer_embed_dim, bias=False)
        self.layer_proj = nn.Linear(c.layer_embed_dim, c.hidden_size, bias=False)

    def forward(self, x: Tensor, span: SharingSpan, cache: Any = None) -> Tensor:
        """x [B, T, P, D] to [B, T, P, D]."""
        predicted = self.altup.predict(x)
        first = predicted[..., 0, :]
        normed = self.attn_norm(first)
        y = first + self.attn_post_norm(self.attn(normed, span, cache))
        y = (y + self.laurel(normed)) / sqrt(2)
        y = y + self.mlp_post_norm(self.mlp(self.mlp_norm(y)))
        corrected = self.altup.correct(predicted, y)
        assert span.of_layers is not None
        gate = gelu_tanh(self.layer_gate(corrected[..., 0, :] * self.altup.scale))
        added = self.layer_norm(self.layer_proj(gate * span.own(span.of_layers[:, :, self.number])))
        return torch.cat((corrected[..., :1, :], corrected[..., 1:, :] + added[..., None, :]), -2)

    def new_cache(self, batch_size: int, max_len: int) -> LayerCache:
        """An empty cache; of a layer without keys, one that keeps nothing."""
        return self.attn.new_cache(batch_size, max_len)
