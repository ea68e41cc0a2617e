"""GLM-4 (arXiv:2406.12793), GLM-4-0414 and GLM-4.5 (arXiv:2508.06471), after transformers' port of the released code.

GLM-4 rotates interleaved pairs of channels in the first half of each head, as ChatGLM2 did; GLM-4.5 rotates the same
half, but pairs each channel of its first quarter with one of the second. GLM-4.5 looks ahead as DeepSeek-V3 does.
"""

from __future__ import annotations

from functools import partial

from torch import nn
from torch.nn import functional as F

from zoo.nn import (
    MTP,
    AheadDecoder,
    Attention,
    Decoder,
    Experts,
    GatedMLP,
    MoE,
    PreNormLayer,
    RMSNorm,
    Rope,
    SandwichLayer,
    SigmoidRouter,
)

from .config import GLM4MoEConfig, GLMConfig


class GLM(Decoder):
    """LLaMA's block with biases on q, k and v, and a second norm per branch in GLM-4-0414."""

    def __init__(self, c: GLMConfig) -> None:
        rope = Rope(c.head_dim, c.rope, c.max_seq_len, is_interleaved=True)
        super().__init__(c, (layer(c, rope) for _ in range(c.num_layers)), RMSNorm(c.hidden_size, c.norm_eps))


class GLM4MoE(AheadDecoder):
    """Pre-norm layers of grouped-query attention and a mixture of experts, the first few with a plain MLP."""

    def __init__(self, c: GLM4MoEConfig) -> None:
        rope = Rope(c.head_dim, c.rope, c.max_seq_len)
        super().__init__(c, (sparse_layer(c, i, rope) for i in range(c.num_layers)), RMSNorm(c.hidden_size, c.norm_eps))
        sizes = c.vocab_size, c.hidden_size, c.norm_eps
        self.mtp = nn.ModuleList(MTP(*sizes, sparse_layer(c, None, rope)) for _ in range(c.num_mtp_layers))


def sparse_layer(c: GLM4MoEConfig, number: int | None, rope: Rope) -> PreNormLayer:
    """Layer `number`, or that of a module, which has experts always."""
    norm = partial(RMSNorm, eps=c.norm_eps)
    is_dense = number is not None and number < c.num_dense_layers
    return PreNormLayer(
        attention(c, rope, qk_norm=norm if c.has_qk_norm else None),
        GatedMLP(c.hidden_size, c.intermediate_size, F.silu) if is_dense else experts(c),
        norm(c.hidden_size),
        norm(c.hidden_size),
    )


def layer(c: GLMConfig, rope: Rope) -> nn.Module:
    norm = partial(RMSNorm, c.hidden_size, c.norm_eps)
    attn, mlp = attention(c, rope), GatedMLP(c.hidden_size, c.intermediate_size, F.silu)
    return SandwichLayer(attn, mlp, norm) if c.is_sandwiched else PreNormLayer(attn, mlp, norm(), norm())


def attention(c: GLMConfig | GLM4MoEConfig, rope: Rope, qk_norm: partial[RMSNorm] | None = None) -> Attention:
    return Attention(
        c.hidden_size, c.num_heads, c.num_kv_heads, c.head_dim,
        rope=rope, has_bias=c.attention_bias, has_out_bias=False, qk_norm=qk_norm,
    )  # fmt: skip


def experts(c: GLM4MoEConfig) -> MoE:
    router = SigmoidRouter(
        c.hidden_size, c.num_experts, c.experts_per_token,
        is_renormalised=c.is_renormalised, num_groups=c.num_groups, groups_per_token=c.groups_per_token,
        scale=c.routed_scale,
    )  # fmt: skip
    shared = GatedMLP(c.hidden_size, c.shared_size, F.silu) if c.shared_size else None
    return MoE(router, Experts(c.num_experts, c.hidden_size, c.moe_intermediate_size), shared)
