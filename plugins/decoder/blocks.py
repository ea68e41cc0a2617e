"""The block that no other family has, and the choice among all; apart from `model` for its length.

Shapes: B batch, T queries, D hidden.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from zoo.nn import ParallelLayer, PostNormLayer, PreNormLayer, SandwichLayer, Span

from .config import SandboxConfig


class DeepNormLayer(PostNormLayer):
    """norm(alpha x + attn(x)), then norm(alpha x + mlp(x)), for stacks of a thousand layers (arXiv:2203.00555)."""

    is_by_token = True

    def __init__(
        self, attn: nn.Module, mlp: nn.Module, attn_norm: nn.Module, mlp_norm: nn.Module, *, alpha: float
    ) -> None:
        super().__init__(attn, mlp, attn_norm, mlp_norm)
        self.alpha = alpha

    def forward(self, x: Tensor, span: Span, cache: Any = None) -> Tensor:
        x = self.attn_norm(self.alpha * x + self.attn(x, span, cache))
        return self.mlp_norm(self.alpha * x + self.mlp(x))


def block(c: SandboxConfig, attn: nn.Module, mlp: nn.Module, norm: Any) -> nn.Module:
    """One layer of the chosen kind; `norm` makes a norm of a width."""
    if c.block.kind == "sandwich":
        return SandwichLayer(attn, mlp, lambda: norm(c.hidden_size))
    if c.block.kind == "parallel":
        return ParallelLayer(attn, mlp, norm(c.hidden_size))
    norms = norm(c.hidden_size), norm(c.hidden_size)
    if c.block.kind == "deepnorm":
        return DeepNormLayer(attn, mlp, *norms, alpha=c.alpha)
    return (PostNormLayer if c.block.kind == "post" else PreNormLayer)(attn, mlp, *norms)
