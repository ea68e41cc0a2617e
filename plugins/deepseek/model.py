"""DeepSeek-V2 (arXiv:2405.04434) and V3 (arXiv:2412.19437), R1 (arXiv:2501.12948) being the latter.

Where papers and code differ, the code that DeepSeek released with the weights is followed: the low-rank norms use an
epsilon of 1e-6 whatever the model's, V2 normalises the weights of its experts *instead of* scaling them, V3 masks the
groups that were not chosen with -inf, and the multi-token prediction module joins (embedding, hidden state) in that
order, where equation 21 of V3's paper has it reversed.

Shapes: B batch, T queries, D hidden, V vocab.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.nn import functional as F

from zoo.nn import (
    MTP,
    AheadDecoder,
    Experts,
    GatedMLP,
    LatentAttention,
    MoE,
    PreNormLayer,
    RMSNorm,
    Rope,
    SigmoidRouter,
    SoftmaxRouter,
)

from .config import DeepSeekConfig


class DeepSeek(AheadDecoder):
    """Pre-norm layers of latent attention and a mixture of experts, the first few with a plain MLP."""

    def __init__(self, c: DeepSeekConfig) -> None:
        attention = self.attention(c)
        layers = (layer(c, i, attention(i)) for i in range(c.num_layers))
        super().__init__(c, layers, RMSNorm(c.hidden_size, c.norm_eps))
        sizes = c.vocab_size, c.hidden_size, c.norm_eps
        ahead = range(c.num_layers, c.num_layers + c.num_mtp_layers)
        self.mtp = nn.ModuleList(MTP(*sizes, layer(c, i, attention(i))) for i in ahead)

    @staticmethod
    def attention(c: Any) -> Callable[[int], LatentAttention]:
        """What makes the attention of a layer by its number; modules for multi-token prediction count on."""
        rope = Rope(c.rope_head_dim, c.rope, c.max_seq_len, is_interleaved=c.rope_interleaved)
        return lambda number: LatentAttention(c.hidden_size, c.num_heads, rope=rope, **latent(c))


def layer(c: DeepSeekConfig, number: int, attn: nn.Module) -> PreNormLayer:
    return PreNormLayer(
        attn=attn,
        mlp=experts(c) if c.has_experts(number) else GatedMLP(c.hidden_size, c.intermediate_size, F.silu),
        attn_norm=RMSNorm(c.hidden_size, c.norm_eps),
        mlp_norm=RMSNorm(c.hidden_size, c.norm_eps),
    )


def latent(c: DeepSeekConfig) -> dict[str, Any]:
    """What LatentAttention takes of a config."""
    return {
        "q_lora_rank": c.q_lora_rank, "kv_lora_rank": c.kv_lora_rank, "nope_head_dim": c.nope_head_dim,
        "rope_head_dim": c.rope_head_dim, "v_head_dim": c.v_head_dim, "scale": c.softmax_scale,
        "has_bias": c.attention_bias,
    }  # fmt: skip


def experts(c: DeepSeekConfig) -> MoE:
    shared = GatedMLP(c.hidden_size, c.shared_size, F.silu) if c.shared_size else None
    return MoE(router(c), Experts(c.num_experts, c.hidden_size, c.moe_intermediate_size), shared)


def router(c: DeepSeekConfig) -> nn.Module:
    sizes = c.hidden_size, c.num_experts, c.experts_per_token
    groups = {"num_groups": c.num_groups, "groups_per_token": c.groups_per_token}
    if c.scoring == "sigmoid":
        return SigmoidRouter(*sizes, **groups, is_renormalised=c.is_renormalised, scale=c.routed_scale)
    scale = 1.0 if c.is_renormalised else c.routed_scale
    return SoftmaxRouter(*sizes, **groups, is_renormalised=c.is_renormalised, scale=scale, is_float32=True)
