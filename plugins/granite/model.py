"""Granite 3 (IBM, 2024): LLaMA's block, with the factors of maximal update parametrisation (arXiv:2203.03466).

Shapes: B batch, T tokens, D hidden, V vocab.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from zoo.nn import Attention, Decoder, Experts, GatedMLP, MoE, RMSNorm, Rope, ScaledLayer, SoftmaxRouter, Span

from .config import ScaledConfig


class Granite(Decoder):
    """Embeddings, scores, branches and logits are each multiplied by a constant."""

    def __init__(self, c: ScaledConfig) -> None:
        super().__init__(c, layers(c, self.mlp), RMSNorm(c.hidden_size, c.norm_eps))

    @staticmethod
    def mlp(c: Any) -> nn.Module:
        """The MLP of one layer."""
        return GatedMLP(c.hidden_size, c.intermediate_size, F.silu, bias=c.mlp_bias)

    def encode(self, tokens: Tensor, span: Span) -> Tensor:
        """Scaled embeddings [B, T, D]."""
        return self.embed(tokens) * self.config.embedding_multiplier

    def decode(self, x: Tensor) -> Tensor:
        """Scaled logits [B, T, V] of x [B, T, D]."""
        return self.lm_head(x) / self.config.logits_scaling


class GraniteMoE(Granite):
    """Granite with a mixture of experts for its MLP: a softmax over the best."""

    @staticmethod
    def mlp(c: Any) -> nn.Module:
        return MoE(
            SoftmaxRouter(c.hidden_size, c.num_experts, c.experts_per_token, is_renormalised=True),
            Experts(c.num_experts, c.hidden_size, c.intermediate_size),
        )


def layers(c: ScaledConfig, mlp: Callable[..., nn.Module]) -> Iterator[ScaledLayer]:
    """The stack, each layer with an MLP of its own making."""
    rope = Rope(c.head_dim, c.rope, c.max_seq_len)
    for _ in range(c.num_layers):
        yield ScaledLayer(
            Attention(
                c.hidden_size, c.num_heads, c.num_kv_heads, c.head_dim, rope=rope, has_bias=c.attention_bias,
                scale=c.attention_multiplier,
            ),
            mlp(c),
            RMSNorm(c.hidden_size, c.norm_eps),
            RMSNorm(c.hidden_size, c.norm_eps),
            scale=c.residual_multiplier,
        )  # fmt: skip
