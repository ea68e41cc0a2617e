"""Layers with another order of norms, branches and additions than LLaMA's; the usual ones are in `decoder`.

Shapes: B batch, T queries, D hidden.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from zoo.nn.cache import LayerCache
from zoo.nn.decoder import PreNormLayer
from zoo.nn.span import Span


class ParallelLayer(nn.Module):
    """x + attn(norm(x)) + mlp(norm(x)), one norm for both branches, as in GPT-J and PaLM (arXiv:2204.02311)."""

    is_by_token = True

    attn: Any  # a module that attends and makes its own cache

    def __init__(self, attn: nn.Module, mlp: nn.Module, norm: nn.Module) -> None:
        super().__init__()
        self.norm, self.attn, self.mlp = norm, attn, mlp

    def forward(self, x: Tensor, span: Span, cache: Any = None) -> Tensor:
        y = self.norm(x)
        return x + self.attn(y, span, cache) + self.mlp(y)

    def new_cache(self, batch_size: int, max_len: int) -> LayerCache:
        return self.attn.new_cache(batch_size, max_len)


class TwinNormLayer(PreNormLayer):
    """x + attn(norm(x)) + mlp(norm(x)), a norm of its own for each branch, as in GPT-NeoX (arXiv:2204.06745)."""

    is_by_token = True

    def forward(self, x: Tensor, span: Span, cache: Any = None) -> Tensor:
        return x + self.attn(self.attn_norm(x), span, cache) + self.mlp(self.mlp_norm(x))


class BranchNormLayer(PreNormLayer):
    """x + norm(attn(x)), then x + norm(mlp(x)): a norm behind each branch and none before, as in OLMo 2."""

    is_by_token = True

    def forward(self, x: Tensor, span: Span, cache: Any = None) -> Tensor:
        x = x + self.attn_norm(self.attn(x, span, cache))
        return x + self.mlp_norm(self.mlp(x))


class ScaledLayer(PreNormLayer):
    """x + scale * attn(norm(x)), then x + scale * mlp(norm(x)), as in Granite and MiniCPM (arXiv:2404.06395)."""

    is_by_token = True

    def __init__(
        self, attn: nn.Module, mlp: nn.Module, attn_norm: nn.Module, mlp_norm: nn.Module, *, scale: float
    ) -> None:
        super().__init__(attn, mlp, attn_norm, mlp_norm)
        self.scale = scale

    def forward(self, x: Tensor, span: Span, cache: Any = None) -> Tensor:
        x = x + self.scale * self.attn(self.attn_norm(x), span, cache)
        return x + self.scale * self.mlp(self.mlp_norm(x))


def layer_of(layout: str, attn: nn.Module, mlp: nn.Module, norm: Callable[[], nn.Module]) -> nn.Module:
    """A layer of one of `describe_trunk`'s layouts but the sandwich, each norm made by `norm`."""
    if layout == "parallel":
        return ParallelLayer(attn, mlp, norm())
    kind = {"pre": PreNormLayer, "twin": TwinNormLayer, "branch": BranchNormLayer}[layout]
    return kind(attn, mlp, norm(), norm())
