"""Qwen-VL (arXiv:2308.12966): Qwen-7B, in whose texts images stand between two tokens of their own.

Between the tokens that begin and end an image the text has as many ids as the resampler has queries: in prompts the
bytes of the image's name and padding, which the model never sees, since the resampler's output takes their places.

Shapes: B batch, T tokens, D hidden, I images, C channels, H image side, Q queries.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.errors import UsageError
from zoo.nn import Cache, Decoder, GatedMLP, LogNAttention, PreNormLayer, RMSNorm, Rope, Span, SteppedRope, has_values

from .config import QwenVLConfig
from .visual import QwenVisual


class QwenVL(Decoder):
    """Pre-norm layers of multi-head attention with biases on q, k and v, SwiGLU, and eyes."""

    def __init__(self, c: QwenVLConfig) -> None:
        rope = SteppedRope(c.head_dim, c.rope, c.trained_seq_len) if c.has_dynamic_ntk else None
        rope = rope or Rope(c.head_dim, c.rope, c.max_seq_len)
        super().__init__(c, (_layer(c, rope) for _ in range(c.num_layers)), RMSNorm(c.hidden_size, c.norm_eps))
        self.visual = QwenVisual(c.vision, c.hidden_size)

    def forward(
        self,
        tokens: Tensor,
        *,
        pixels: Tensor | None = None,
        attention_mask: Tensor | None = None,
        cache: Cache | None = None,
        last: bool = False,
    ) -> Tensor:
        """Logits as of any decoder; `pixels` [I, C, H, H] are the images in the order in which the texts name them.

        Raises UsageError where texts and images do not go together.
        """
        batch_size, num_new = tokens.shape
        span = Span(batch_size, num_new, tokens.device, attention_mask=attention_mask, cache=cache)
        x = self.encode(tokens, span)
        if span.num_new > 1:  # a single token that begins an image is one that the model itself wrote
            where = self._places(tokens, span, 0 if pixels is None else len(pixels))
            if pixels is not None:
                x = x.masked_scatter(where[..., None], self.visual(pixels).to(x.dtype))
        elif pixels is not None:
            raise UsageError("an image needs more than one token")
        return self.read(x, span, cache=cache, last=last)

    def _places(self, tokens: Tensor, span: Span, num_images: int) -> Tensor:
        """Where in tokens [B, T] the images' tokens stand, [B, T]."""
        v, where = self.config.vision, torch.zeros_like(tokens, dtype=torch.bool)
        if not num_images and not has_values(tokens):
            return where
        starts = tokens == v.image_start_id if span.padding is None else (tokens == v.image_start_id) & span.padding
        found = starts.nonzero().tolist()
        if len(found) != num_images:
            raise UsageError(f"the text has {len(found)} images, {num_images} are given", hint="give pixels=, one each")
        for row, column in found:
            end = column + v.num_queries + 1
            if end >= tokens.shape[1] or tokens[row, end] != v.image_start_id + 1:
                what = f"the image that starts at token {column} does not end after {v.num_queries}"
                raise UsageError(what, why=f"expected {v.image_start_id + 1} at {end}")
            where[row, column + 1 : end] = True
        return where


def _layer(c: QwenVLConfig, rope: Rope) -> PreNormLayer:
    return PreNormLayer(
        attn=LogNAttention(
            c.hidden_size, c.num_heads, c.head_dim, rope=rope, has_out_bias=c.linear_bias,
            trained_seq_len=c.trained_seq_len if c.has_logn else None,
        ),
        mlp=GatedMLP(c.hidden_size, c.intermediate_size, F.silu, bias=c.linear_bias),
        attn_norm=RMSNorm(c.hidden_size, c.norm_eps),
        mlp_norm=RMSNorm(c.hidden_size, c.norm_eps),
    )  # fmt: skip
