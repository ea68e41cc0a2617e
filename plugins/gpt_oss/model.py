"""gpt-oss (arXiv:2508.10925), after openai/gpt-oss.

Each head attends to a sink besides: a learned score that takes its share of the softmax and gives nothing. Experts have
biases and a SwiGLU whose parts are clamped; one is added to what the gate lets through.

Shapes: M tokens, D hidden, F expert width, E experts.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.nn import (
    Attention,
    Decoder,
    Experts,
    LateCastRMSNorm,
    MoE,
    PreNormLayer,
    Rope,
    SoftmaxRouter,
    at_least_float32,
    causal,
    sliding,
    times,
)

from .config import GptOssConfig


class GptOss(Decoder):
    """Pre-norm layers of attention with sinks, windowed or not, and experts."""

    def __init__(self, c: GptOssConfig) -> None:
        rope = Rope(c.head_dim, c.rope, c.max_seq_len)
        super().__init__(
            c, (layer(c, i, rope) for i in range(c.num_layers)), LateCastRMSNorm(c.hidden_size, c.norm_eps)
        )


def layer(c: GptOssConfig, number: int, rope: Rope) -> PreNormLayer:
    window = c.window_of(number)
    attn = Attention(
        c.hidden_size, c.num_heads, c.num_kv_heads, c.head_dim,
        rope=rope, mask=causal if window is None else sliding(window), has_bias=c.attention_bias, has_sinks=True,
    )  # fmt: skip
    experts = ClampedExperts(
        c.num_experts, c.hidden_size, c.intermediate_size, alpha=c.swiglu_alpha, limit=c.swiglu_limit
    )
    mlp = MoE(BiasedRouter(c.hidden_size, c.num_experts, c.experts_per_token, is_renormalised=True), experts)
    return PreNormLayer(attn, mlp, *(LateCastRMSNorm(c.hidden_size, c.norm_eps) for _ in range(2)))


class BiasedRouter(SoftmaxRouter):
    """Softmax over the k largest logits, which is one over all, made to sum to 1 again; with a bias for each expert."""

    def __init__(
        self, hidden_size: int, num_experts: int, experts_per_token: int, *, is_renormalised: bool = True
    ) -> None:
        super().__init__(hidden_size, num_experts, experts_per_token, is_renormalised=is_renormalised)
        self.bias = nn.Parameter(torch.zeros(num_experts))

    def reset_parameters(self) -> None:
        super().reset_parameters()
        if hasattr(self, "bias"):
            nn.init.zeros_(self.bias)

    def scores(self, x: Tensor) -> Tensor:
        """Probabilities [M, E] in float32 at least."""
        return at_least_float32(F.linear(x, self.weight, self.bias)).softmax(-1)


class ClampedExperts(Experts):
    """E MLPs with biases, down(gate * sigmoid(alpha * gate) * (up + 1)), gate and up clamped at `limit`."""

    def __init__(
        self, num_experts: int, hidden_size: int, intermediate_size: int, *, alpha: float, limit: float
    ) -> None:
        super().__init__(num_experts, hidden_size, intermediate_size)
        self.alpha, self.limit = alpha, limit
        self.gate_bias = nn.Parameter(torch.zeros(num_experts, intermediate_size))
        self.up_bias = nn.Parameter(torch.zeros(num_experts, intermediate_size))
        self.down_bias = nn.Parameter(torch.zeros(num_experts, hidden_size))

    def reset_parameters(self) -> None:
        for name, weight in self.named_parameters():
            nn.init.zeros_(weight) if name.endswith("bias") else nn.init.normal_(weight, std=0.02)

    def stacks(self) -> tuple[Tensor, ...]:
        """What each expert has one of."""
        return (*super().stacks(), self.gate_bias, self.up_bias, self.down_bias)

    def _expert(self, x: Tensor, gate: Tensor, up: Tensor, down: Tensor, *biases: Tensor) -> Tensor:
        gate_bias, up_bias, down_bias = (bias.unsqueeze(-2) for bias in biases)
        g = (times(x, gate) + gate_bias).clamp(max=self.limit)
        u = (times(x, up) + up_bias).clamp(-self.limit, self.limit)
        return times((u + 1) * (g * torch.sigmoid(self.alpha * g)), down) + down_bias
