"""Mistral 7B (arXiv:2310.06825) and Mixtral (arXiv:2401.04088)."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn
from torch.nn import functional as F

from zoo.nn import (
    Attention,
    Decoder,
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

from .config import MistralConfig, MixtralConfig


class Mistral(Decoder):
    """LLaMA's block; layers may see a window of the last tokens only."""

    def __init__(self, c: MistralConfig) -> None:
        super().__init__(
            c,
            layers(c, lambda: GatedMLP(c.hidden_size, c.intermediate_size, F.silu)),
            RMSNorm(c.hidden_size, c.norm_eps),
        )


class Mixtral(Decoder):
    """Mistral with a mixture of experts for its MLP: softmax over all, the best kept and renormalised."""

    def __init__(self, c: MixtralConfig) -> None:
        def mlp() -> MoE:
            return MoE(
                SoftmaxRouter(c.hidden_size, c.num_experts, c.experts_per_token, is_renormalised=True),
                Experts(c.num_experts, c.hidden_size, c.intermediate_size),
            )

        super().__init__(c, layers(c, mlp), RMSNorm(c.hidden_size, c.norm_eps))


def layers(c: MistralConfig, mlp: Callable[[], nn.Module]) -> list[PreNormLayer]:
    """The stack, each layer with an MLP of its own making."""
    rope = Rope(c.head_dim, c.rope, c.max_seq_len)
    masks = [causal if c.window_of(i) is None else sliding(c.sliding_window or 0) for i in range(c.num_layers)]
    return [
        PreNormLayer(
            attn=Attention(c.hidden_size, c.num_heads, c.num_kv_heads, c.head_dim, rope=rope, mask=mask),
            mlp=mlp(),
            attn_norm=RMSNorm(c.hidden_size, c.norm_eps),
            mlp_norm=RMSNorm(c.hidden_size, c.norm_eps),
        )
        for mask in masks
    ]
