"""Qwen3-VL (arXiv:2511.21631): a Qwen3 decoder whose first layers take in tokens of several depths of the tower.

Frames of a video stand in the text one by one, each behind its time in words, so that no position counts seconds.

Shapes: B batch, T tokens, D hidden, P patches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.errors import UsageError
from zoo.nn import (
    Attention,
    Experts,
    GatedMLP,
    InterleavedMRope,
    MoE,
    PreNormLayer,
    RMSNorm,
    SoftmaxRouter,
    Span,
)

from ..model import Qwen2VL
from ..positions import Seen
from ..seeing import SeeingSpan, put
from ..tower import sides_of
from .config import Qwen3VLConfig, Qwen3VLMoEConfig
from .tower import DeepTower


class Qwen3VL(Qwen2VL):
    """Grouped-query attention with norms on q and k and interleaved positions of three dimensions, SwiGLU, a tower."""

    @staticmethod
    def _new_layers(c: Any) -> Iterator[nn.Module]:
        rope = InterleavedMRope(c.head_dim, c.rope, c.max_seq_len, c.rope_sections)
        return (_layer(c, rope, i) for i in range(c.num_layers))

    @staticmethod
    def _new_tower(c: Any) -> nn.Module:
        return DeepTower(c.vision, c.hidden_size)

    def _looked(self, x: Tensor, where: Tensor, patches: Tensor, grid: Tensor, span: SeeingSpan) -> Tensor:
        tokens, depths = self.visual.at_depths(patches, grid)
        span.deep = span.deep or [torch.zeros_like(x) for _ in depths]
        span.deep = [put(had, where, more) for had, more in zip(span.deep, depths, strict=True)]
        return put(x, where, tokens)

    def _seen(
        self, grid: Tensor | None, video_grid: Tensor | None, seconds: Sequence[float] | Tensor | None
    ) -> dict[int, Iterator[Seen]]:
        if seconds is not None:
            raise UsageError(
                "seconds_per_grid: Qwen3-VL tells the time of a frame in words", hint="write them into the text"
            )
        c, merge = self.config, self.config.vision.merge_size
        images, videos = (sides_of(g, merge) for g in (grid, video_grid))
        stills = [(1, h, w) for t, h, w in videos for _ in range(t)]
        return {
            token: iter([Seen((t, h // merge, w // merge)) for t, h, w in found])
            for token, found in ((c.image_token_id, images), (c.video_token_id, stills))
        }


class DeepLayer(PreNormLayer):
    """The layer of a decoder that adds what the tower saw at one depth, where tokens of images stand."""

    is_by_token = True

    def __init__(self, number: int, **parts: nn.Module) -> None:
        super().__init__(**parts)
        self.number = number

    def forward(self, x: Tensor, span: Span, cache: Any = None) -> Tensor:
        x = super().forward(x, span, cache)
        deep = getattr(span, "deep", ())
        return x + span.own(deep[self.number]) if self.number < len(deep) else x


def _layer(c: Qwen3VLConfig, rope: InterleavedMRope, number: int) -> DeepLayer:
    heads, has_bias = (c.num_heads, c.num_kv_heads, c.head_dim), c.attention_bias
    norm = partial(RMSNorm, eps=c.norm_eps)
    return DeepLayer(
        number,
        attn=Attention(
            c.hidden_size, *heads, rope=rope, has_bias=has_bias, has_out_bias=has_bias, qk_norm=norm
        ),
        mlp=_mlp(c, number),
        attn_norm=norm(c.hidden_size),
        mlp_norm=norm(c.hidden_size),
    )  # fmt: skip


def _mlp(c: Qwen3VLConfig, number: int) -> nn.Module:
    if not isinstance(c, Qwen3VLMoEConfig) or number in c.dense_layers:
        return GatedMLP(c.hidden_size, c.intermediate_size, F.silu)
    router = SoftmaxRouter(c.hidden_size, c.num_experts, c.experts_per_token, is_renormalised=True)
    return MoE(router, Experts(c.num_experts, c.hidden_size, c.moe_intermediate_size))
