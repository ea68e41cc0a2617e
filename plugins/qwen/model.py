"""Qwen 1.5 to 3, dense and mixtures of experts (arXiv:2407.10671, arXiv:2412.15115, arXiv:2505.09388).

LLaMA's block with biases on q, k and v; from Qwen3 on with a norm on each head's query and key instead, before the
rotation. The 1M-token models attend in dual chunks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from torch import nn
from torch.nn import functional as F

from zoo.nn import (
    Attention,
    Decoder,
    DualChunkAttention,
    DualChunkRope,
    Experts,
    GatedMLP,
    MoE,
    PreNormLayer,
    RMSNorm,
    Rope,
    SoftmaxRouter,
    causal,
    sliding,
)

from .config import Qwen2Config
from .moe.config import Qwen2MoEConfig


class Qwen(Decoder):
    """Pre-norm layers of grouped-query attention and SwiGLU."""

    def __init__(self, c: Qwen2Config) -> None:
        super().__init__(c, layers(c, lambda _: dense_mlp(c)), RMSNorm(c.hidden_size, c.norm_eps))


class QwenMoE(Decoder):
    """The same with experts: softmax over all, the best kept, and in Qwen2 an expert for all, behind a sigmoid gate."""

    def __init__(self, c: Qwen2MoEConfig) -> None:
        def mlp(layer: int) -> nn.Module:
            return dense_mlp(c) if layer in c.dense_layers else experts(c)

        super().__init__(c, layers(c, mlp), RMSNorm(c.hidden_size, c.norm_eps))


def layers(c: Qwen2Config, mlp: Callable[[int], nn.Module]) -> Iterator[PreNormLayer]:
    """The stack, each layer with an MLP by its number."""
    attention = windows(c) if c.dual_chunk.chunk_size is None else chunks(c)
    for i in range(c.num_layers):
        yield PreNormLayer(
            attn=attention(i),
            mlp=mlp(i),
            attn_norm=RMSNorm(c.hidden_size, c.norm_eps),
            mlp_norm=RMSNorm(c.hidden_size, c.norm_eps),
        )


def windows(c: Qwen2Config) -> Callable[[int], Attention]:
    """Attention by a layer's number: to all tokens before, or to a window of them."""
    rope, (bias, out_bias) = Rope(c.head_dim, c.rope, c.max_seq_len), c.biases
    norm = partial(RMSNorm, eps=c.norm_eps) if c.has_qk_norm else None

    def attention(layer: int) -> Attention:
        window = c.window_of(layer)
        return Attention(
            c.hidden_size, c.num_heads, c.num_kv_heads, c.head_dim,
            rope=rope, mask=causal if window is None else sliding(window), has_bias=bias, has_out_bias=out_bias,
            qk_norm=norm,
        )  # fmt: skip

    return attention


def chunks(c: Qwen2Config) -> Callable[[int], DualChunkAttention]:
    """Attention in dual chunks, the same in each layer."""
    chunk_size, local_size, (bias, out_bias) = c.dual_chunk.chunk_size, c.dual_chunk.local_size, c.biases
    assert chunk_size is not None
    assert local_size is not None
    rope = DualChunkRope(c.head_dim, c.rope, c.max_seq_len, chunk_size=chunk_size, local_size=local_size)
    norm = partial(RMSNorm, eps=c.norm_eps) if c.has_qk_norm else None
    return lambda layer: DualChunkAttention(
        c.hidden_size, c.num_heads, c.num_kv_heads, c.head_dim, rope=rope,
        original_max_seq_len=c.dual_chunk.original_max_seq_len, has_bias=bias, has_out_bias=out_bias, qk_norm=norm,
    )  # fmt: skip


def dense_mlp(c: Qwen2Config) -> GatedMLP:
    return GatedMLP(c.hidden_size, c.intermediate_size, F.silu)


def experts(c: Qwen2MoEConfig) -> MoE:
    router = SoftmaxRouter(c.hidden_size, c.num_experts, c.experts_per_token, is_renormalised=c.is_renormalised)
    routed = Experts(c.num_experts, c.hidden_size, c.moe_intermediate_size)
    if c.shared_intermediate_size is None:
        return MoE(router, routed)
    shared = GatedMLP(c.hidden_size, c.shared_intermediate_size, F.silu)
    return MoE(router, routed, shared, nn.Linear(c.hidden_size, 1, bias=False))
