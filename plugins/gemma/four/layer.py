"""A layer of Gemma 4.

Shapes: B batch, T tokens, D hidden, M tokens of all rows, E experts, k experts per token.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.anatomy import RopeConfig
from zoo.nn import (
    Experts,
    GatedMLP,
    LateCastRMSNorm,
    LayerCache,
    Mask,
    MoE,
    Rope,
    SoftmaxRouter,
    at_least_float32,
    gelu_tanh,
)

from ..sharing import Sharing, SharingAttention, SharingSpan
from .config import Gemma4Config


class ProportionalRope(Rope):
    """Rotates the fastest share of a head's channel pairs, at the angles that they have where all of them rotate."""

    def __init__(self, head_dim: int, rope: RopeConfig, max_seq_len: int, share: float) -> None:
        super().__init__(head_dim, rope, max_seq_len)
        kept = int(share * head_dim // 2)
        self.short = [f if i < kept else 0.0 for i, f in enumerate(self.short)]


class Gemma4Layer(nn.Module):
    """Attention and MLP with norms on both sides, the layer's embedding of each token, and all of it times a number."""

    is_by_token = True

    def __init__(self, c: Gemma4Config, number: int, rope: Rope, mask: Mask) -> None:
        super().__init__()
        self.number, is_global, has_keys = number, c.is_global(number), number < c.first_sharing
        shares = Sharing(is_global, has_keys, not (is_global and c.has_equal_keys), has_keys and c.is_source(number))
        self.attn = SharingAttention(
            c.hidden_size, c.heads_of(is_global), rope=rope, mask=mask, eps=c.norm_eps, shares=shares
        )
        self.mlp = GatedMLP(c.hidden_size, c.width_of(number), gelu_tanh)
        self.moe = None if c.num_experts is None else BesideMoE(c, c.num_experts)
        norm = partial(LateCastRMSNorm, c.hidden_size, c.norm_eps)
        self.attn_norm, self.attn_post_norm, self.mlp_norm, self.mlp_post_norm = norm(), norm(), norm(), norm()
        width = c.layer_embed_dim
        self.layer_gate = nn.Linear(c.hidden_size, width, bias=False) if width else None
        self.layer_proj = nn.Linear(width, c.hidden_size, bias=False) if width else None
        self.layer_norm = norm() if width else None
        self.scalar = nn.Parameter(torch.ones(1))

    def reset_parameters(self) -> None:
        nn.init.ones_(self.scalar)

    def forward(self, x: Tensor, span: SharingSpan, cache: LayerCache | None = None) -> Tensor:
        """x [B, T, D] to [B, T, D]."""
        x = x + self.attn_post_norm(self.attn(self.attn_norm(x), span, cache))
        out = self.mlp(self.mlp_norm(x))
        if self.moe is not None:
            out = self.moe.mlp_norm(out) + self.moe(x)
        x = x + self.mlp_post_norm(out)
        if self.layer_gate is not None and self.layer_proj is not None and self.layer_norm is not None:
            assert span.of_layers is not None
            gated = gelu_tanh(self.layer_gate(x)) * span.own(span.of_layers[:, :, self.number])
            x = x + self.layer_norm(self.layer_proj(gated))
        return x * self.scalar

    def new_cache(self, batch_size: int, max_len: int) -> LayerCache:
        """An empty cache; of a layer without keys, one that keeps nothing."""
        return self.attn.new_cache(batch_size, max_len)


class BesideMoE(MoE):
    """Experts beside an MLP: routed by what the layer has so far, normed and times a gain, and given it normed."""

    def __init__(self, c: Gemma4Config, num_experts: int) -> None:
        norm = partial(LateCastRMSNorm, c.hidden_size, c.norm_eps)
        super().__init__(
            ScaledRouter(c.hidden_size, num_experts, c.experts_per_token),
            Experts(num_experts, c.hidden_size, c.expert_size, gelu_tanh),
        )
        self.norm, self.post_norm, self.mlp_norm = norm(), norm(), norm()
        self.gain = nn.Parameter(torch.ones(c.hidden_size))

    def reset_parameters(self) -> None:
        nn.init.ones_(self.gain)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, T, D] to [B, T, D]."""
        plain = F.rms_norm(at_least_float32(x), x.shape[-1:], eps=self.norm.eps).to(x.dtype)
        chosen, weights = self.router((plain * self.gain * x.shape[-1] ** -0.5).flatten(0, 1))
        out = self.experts(self.norm(x).flatten(0, 1), chosen, weights)
        return self.post_norm(out.view_as(x))


class ScaledRouter(SoftmaxRouter):
    """A router in which each expert's weight is times a number of its own."""

    def __init__(self, hidden_size: int, num_experts: int, experts_per_token: int) -> None:
        super().__init__(hidden_size, num_experts, experts_per_token, is_renormalised=True)
        self.expert_scale = nn.Parameter(torch.ones(num_experts))

    def reset_parameters(self) -> None:
        super().reset_parameters()
        if hasattr(self, "expert_scale"):
            nn.init.ones_(self.expert_scale)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The experts [M, k] of each token of x [M, D], and their weights [M, k]."""
        chosen, weights = super().forward(x)
        return chosen, weights * self.expert_scale[chosen]
