"""Llama 4 (Meta, 2025), after meta-llama/llama-models.

Layers that rotate see chunks of the text, the others see all of it; there queries grow with the position, so that
attention over very long texts stays sharp (arXiv:2501.19399). An expert reads its token multiplied by the token's
score, and what it gives is not weighed again.

Shapes: B batch, T tokens, N heads, H head dim, D hidden, M = B*T, k experts per token.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.nn import (
    Attention,
    Decoder,
    Experts,
    GatedMLP,
    Mask,
    MoE,
    PreNormLayer,
    RMSNorm,
    Rope,
    SoftmaxRouter,
    Span,
    at_least_float32,
    causal,
    chunked,
)

from .config import Llama4Config


class Llama4(Decoder):
    """Pre-norm layers, in chunks or over all, with a plain MLP or with experts."""

    def __init__(self, c: Llama4Config) -> None:
        rope = ExactRope(c.head_dim, c.rope, c.max_seq_len, is_interleaved=True)
        super().__init__(c, (layer(c, i, rope) for i in range(c.num_layers)), RMSNorm(c.hidden_size, c.norm_eps))


def layer(c: Llama4Config, number: int, rope: Rope) -> PreNormLayer:
    mlp: nn.Module
    if number in c.dense_layers:
        mlp = GatedMLP(c.hidden_size, c.intermediate_size, F.silu)
    else:
        width = c.moe_intermediate_size
        router = LogitRouter(c.hidden_size, c.num_experts, c.experts_per_token, is_renormalised=False)
        experts = Experts(c.num_experts, c.hidden_size, width)
        mlp = ScaledInputMoE(router, experts, GatedMLP(c.hidden_size, width, F.silu))
    norms = (RMSNorm(c.hidden_size, c.norm_eps) for _ in range(2))
    return PreNormLayer(attention(c, number, rope), mlp, *norms)


def attention(c: Llama4Config, number: int, rope: Rope) -> Attention:
    size = c.chunk_of(number)
    sizes = c.hidden_size, c.num_heads, c.num_kv_heads, c.head_dim
    mask = causal if size is None else chunked(size)
    if number in c.nope_layers:
        return TemperedAttention(
            *sizes, mask=mask, has_bias=c.attention_bias, growth=c.temperature_scale, length=c.temperature_length
        )
    return LateNormAttention(
        *sizes, rope=rope, mask=mask, has_bias=c.attention_bias, norm_eps=c.norm_eps if c.has_qk_norm else None
    )


class ExactRope(Rope):
    """Rotates in float32 at least, whatever the weights, and rounds once behind it, as the released code does."""

    def forward(self, positions: Tensor, dtype: torch.dtype, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return super().forward(positions, torch.promote_types(dtype, torch.float32), lengths)

    def rotate(self, x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
        """Rotate x [B, T, N, H]."""
        return super().rotate(x, rotation).to(x.dtype)  # products with wider cosines are as wide


class LateNormAttention(Attention):
    """Attention whose queries and keys are divided by their root mean square behind the rotation; no weights."""

    def __init__(self, *sizes: int, rope: Rope, mask: Mask, has_bias: bool, norm_eps: float | None) -> None:
        super().__init__(*sizes, rope=rope, mask=mask, has_bias=has_bias)
        self.norm_eps = norm_eps

    def _placed(self, q: Tensor, k: Tensor, span: Span) -> tuple[Tensor, Tensor]:
        q, k = super()._placed(q, k, span)
        if self.norm_eps is None:
            return q, k
        q, k = (F.rms_norm(at_least_float32(x), x.shape[-1:], eps=self.norm_eps).to(x.dtype) for x in (q, k))
        return q, k


class TemperedAttention(Attention):
    """Attention without positions whose query at p is multiplied by 1 + growth * ln(1 + (p + 1) // length).

    `growth` None multiplies by nothing. Positions count real tokens, so that a padded row is as it is alone.
    """

    depends_on_position = True

    def __init__(self, *sizes: int, mask: Mask, has_bias: bool, growth: float | None, length: int) -> None:
        super().__init__(*sizes, mask=mask, has_bias=has_bias)
        self.growth, self.length = growth, length

    def _placed(self, q: Tensor, k: Tensor, span: Span) -> tuple[Tensor, Tensor]:
        if self.growth is None:
            return q, k
        steps = (span.positions + 1) // self.length
        exact = torch.promote_types(q.dtype, torch.float32)
        factor = 1 + self.growth * steps.to(exact).log1p()[..., None, None]  # [B or 1, T, 1, 1]
        return (q * factor).to(q.dtype), k


class LogitRouter(SoftmaxRouter):
    """The k largest logits, and their sigmoids; the choice is by logits, of which many have the sigmoid 1."""

    def scores(self, x: Tensor) -> Tensor:
        """Sigmoids [M, E] in float32 at least."""
        return at_least_float32(F.linear(x, self.weight)).sigmoid()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The route of each token of x [M, D]."""
        best, chosen = F.linear(x, self.weight).topk(self.experts_per_token, -1)
        return chosen, at_least_float32(best).sigmoid()


class ScaledInputMoE(MoE):
    """Experts that are given w x in the place of x, beside a shared one; their sum is not weighed."""

    def forward(self, x: Tensor) -> Tensor:
        """x [B, T, D] to [B, T, D]."""
        flat = x.flatten(0, 1)
        chosen, weights = self.router(flat)
        rows = (flat[:, None] * weights[..., None].to(x.dtype)).flatten(0, 1)  # [M*k, D], each for one expert
        each = self.experts(rows, chosen.reshape(-1, 1), torch.ones_like(rows[:, :1]))
        assert self.shared is not None
        return self.shared(x) + each.view(*chosen.shape, -1).sum(1).view_as(x)
