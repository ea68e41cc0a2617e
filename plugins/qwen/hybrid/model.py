"""Qwen3-Next and the text of Qwen3.5: gated delta nets, with a layer of gated attention after every three of them.

Attention is Qwen3's with a second query that gates what each head gives, and a quarter of the channels rotate. All
norms but the delta net's own scale by 1 + w.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.nn import (
    AheadDecoder,
    Attention,
    Experts,
    GatedDeltaNet,
    GatedMLP,
    KVCache,
    MoE,
    PreNormLayer,
    RetracedCache,
    Rope,
    SoftmaxRouter,
    Span,
    UnitOffsetRMSNorm,
)

from .config import Qwen35Config, Qwen35MoEConfig


class QwenHybrid(AheadDecoder):
    """Pre-norm layers of delta nets and attention, dense or with experts."""

    def __init__(self, c: Qwen35Config) -> None:
        rope = Rope(c.head_dim, c.rope, c.max_seq_len)
        super().__init__(
            c, (layer(c, i, rope) for i in range(c.num_layers)), UnitOffsetRMSNorm(c.hidden_size, c.norm_eps)
        )
        if c.num_mtp_layers:
            self.mtp = QwenMTP(c, rope)

    def ahead(
        self, number: int, x: Tensor, tokens: Tensor, span: Span, cache: KVCache | None = None
    ) -> tuple[Tensor, Tensor]:
        """See AheadDecoder; embedding and head are the model's own."""
        x = self.mtp(number, x, self.embed(tokens), span, cache)
        return x, self.lm_head(x)

    def ahead_layer(self, number: int) -> nn.Module:
        """A layer of the module, which attends."""
        return self.mtp.layers[number]


class QwenMTP(nn.Module):
    """The module for multi-token prediction: its layers attend, and share one projection and all norms before it."""

    def __init__(self, c: Qwen35Config, rope: Rope) -> None:
        super().__init__()
        self.embed_norm = UnitOffsetRMSNorm(c.hidden_size, c.norm_eps)
        self.hidden_norm = UnitOffsetRMSNorm(c.hidden_size, c.norm_eps)
        self.proj = nn.Linear(2 * c.hidden_size, c.hidden_size, bias=False)
        self.layers = nn.ModuleList(attending_layer(c, mlp(c, None), rope) for _ in range(c.num_mtp_layers))
        self.norm = UnitOffsetRMSNorm(c.hidden_size, c.norm_eps)

    def forward(self, number: int, x: Tensor, embedded: Tensor, span: Span, cache: KVCache | None = None) -> Tensor:
        """Layer `number` on states x [B, P, D] and the embeddings [B, P, D] of the tokens behind: normed states."""
        pair = torch.cat((self.embed_norm(embedded), self.hidden_norm(x)), -1)
        return self.norm(self.layers[number](self.proj(pair), span, cache))


def layer(c: Qwen35Config, number: int, rope: Rope) -> nn.Module:
    """One of the stack."""
    if c.attends(number):
        return attending_layer(c, mlp(c, number), rope)
    d = c.delta
    mixer = GatedDeltaNet(
        c.hidden_size, d.num_key_heads, d.num_heads, d.key_dim, d.value_dim,
        conv_kernel=d.conv_kernel, norm_eps=c.norm_eps,
    )  # fmt: skip
    norms = (UnitOffsetRMSNorm(c.hidden_size, c.norm_eps) for _ in range(2))
    return DeltaLayer(mixer, mlp(c, number), *norms)


def attending_layer(c: Qwen35Config, mlp: nn.Module, rope: Rope) -> PreNormLayer:
    """A layer of gated attention."""
    norm = partial(UnitOffsetRMSNorm, eps=c.norm_eps)
    attn = OutputGatedAttention(c.hidden_size, *c.heads, rope=rope, has_bias=c.attention_bias, qk_norm=norm)
    return PreNormLayer(attn, mlp, norm(c.hidden_size), norm(c.hidden_size))


def mlp(c: Qwen35Config, layer: int | None) -> nn.Module:
    """That of a layer, or of the module: a plain MLP, or experts with one for all behind a sigmoid gate."""
    if not isinstance(c, Qwen35MoEConfig):
        return GatedMLP(c.hidden_size, c.intermediate_size, F.silu)
    plain, width = c.plain_mlps
    if layer in plain:
        return GatedMLP(c.hidden_size, width, F.silu)
    router = SoftmaxRouter(c.hidden_size, c.num_experts, c.experts_per_token, is_renormalised=c.sums_to_one)
    routed = Experts(c.num_experts, c.hidden_size, c.intermediate_size)
    shared = GatedMLP(c.hidden_size, c.shared_intermediate_size, F.silu)
    return MoE(router, routed, shared, nn.Linear(c.hidden_size, 1, bias=False))


class OutputGatedAttention(Attention):
    """Attention whose result is multiplied by the sigmoid of a second projection (arXiv:2505.06708)."""

    last_part = "o_proj"

    def __init__(
        self, hidden_size: int, num_heads: int, num_kv_heads: int, head_dim: int, *, rope: Rope, has_bias: bool,
        qk_norm: Any,
    ) -> None:  # fmt: skip
        super().__init__(hidden_size, num_heads, num_kv_heads, head_dim, rope=rope, has_bias=has_bias, qk_norm=qk_norm)
        self.gate_proj = nn.Linear(hidden_size, num_heads * head_dim, has_bias)

    def forward(self, x: Tensor, span: Span, cache: KVCache | None = None) -> Tensor:
        return self.o_proj(self.heads(x, span, cache) * self.gate_proj(x).sigmoid())


class DeltaLayer(nn.Module):
    """x + mixer(norm(x)), then x + mlp(norm(x))."""

    is_by_token = True

    mixer: Any  # a module that mixes tokens and makes its own state

    def __init__(self, mixer: nn.Module, mlp: nn.Module, attn_norm: nn.Module, mlp_norm: nn.Module) -> None:
        super().__init__()
        self.attn_norm, self.mixer, self.mlp_norm, self.mlp = attn_norm, mixer, mlp_norm, mlp

    def forward(self, x: Tensor, span: Span, cache: RetracedCache | None = None) -> Tensor:
        x = x + self.mixer(self.attn_norm(x), span, cache)
        return x + self.mlp(self.mlp_norm(x))

    def new_cache(self, batch_size: int, max_len: int) -> RetracedCache:
        """A state of zeros, the same size for any `max_len`."""
        return self.mixer.new_cache(batch_size)
