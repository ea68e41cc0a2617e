"""Qwen3-Next and the text of Qwen3.5: gated delta nets, with a layer of gated attention after every three of them.

Attention is Qwen3's with a second query that gates what each head gives, and a quarter of the channels rotate. All
norms but the delta net's own scale by 1 + w.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from zoo.nn import (
    Attention,
    Decoder,
    Experts,
    GatedDeltaNet,
    GatedMLP,
    KVCache,
    MoE,
    PreNormLayer,
    Rope,
    SoftmaxRouter,
    Span,
    StateCache,
    UnitOffsetRMSNorm,
)

from .config import Qwen35Config, Qwen35MoEConfig


class QwenHybrid(Decoder):
    """Pre-norm layers of delta nets and attention, dense or with experts."""

    def __init__(self, c: Qwen35Config) -> None:
        super().__init__(c, layers(c), UnitOffsetRMSNorm(c.hidden_size, c.norm_eps))


def layers(c: Qwen35Config) -> Iterator[nn.Module]:
    """The stack."""
    rope, norm, d = Rope(c.head_dim, c.rope, c.max_seq_len), partial(UnitOffsetRMSNorm, eps=c.norm_eps), c.delta
    for i in range(c.num_layers):
        norms = norm(c.hidden_size), norm(c.hidden_size)
        if c.attends(i):
            attn = OutputGatedAttention(c.hidden_size, *c.heads, rope=rope, has_bias=c.attention_bias, qk_norm=norm)
            yield PreNormLayer(attn, mlp(c, i), *norms)
            continue
        mixer = GatedDeltaNet(
            c.hidden_size, d.num_key_heads, d.num_heads, d.key_dim, d.value_dim,
            conv_kernel=d.conv_kernel, norm_eps=c.norm_eps,
        )  # fmt: skip
        yield DeltaLayer(mixer, mlp(c, i), *norms)


def mlp(c: Qwen35Config, layer: int) -> nn.Module:
    """A plain MLP, or experts with one for all behind a sigmoid gate."""
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

    mixer: Any  # a module that mixes tokens and makes its own state

    def __init__(self, mixer: nn.Module, mlp: nn.Module, attn_norm: nn.Module, mlp_norm: nn.Module) -> None:
        super().__init__()
        self.attn_norm, self.mixer, self.mlp_norm, self.mlp = attn_norm, mixer, mlp_norm, mlp

    def forward(self, x: Tensor, span: Span, cache: StateCache | None = None) -> Tensor:
        x = x + self.mixer(self.attn_norm(x), span, cache)
        return x + self.mlp(self.mlp_norm(x))

    def new_cache(self, batch_size: int, max_len: int) -> StateCache:
        """A state of zeros, the same size for any `max_len`."""
        return self.mixer.new_cache(batch_size)
