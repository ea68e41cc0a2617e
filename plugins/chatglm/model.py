"""ChatGLM-6B (arXiv:2406.12793), after the code released with its weights.

That code and the papers differ: the MLP is GELU without a gate; the skip branch of each half of a layer is the *normed*
input times sqrt(2 * 28), the 28 being a default that is never overridden; rotary frequencies are rounded to float16.
The scores are divided by the layer's number before the softmax and multiplied by it again inside, which matters to the
range of float16 only and is left out. Angles are computed in float32 here, where a float16 model of the released code
rounds them too.

Shapes: B batch, T queries, D hidden, N heads, H head dim, F = H/4 channel pairs per position.
"""

from __future__ import annotations

import struct
from typing import Any

import torch
from torch import Tensor, nn

from zoo.anatomy import RopeConfig
from zoo.nn import MLP, Attention, Cache, Decoder, LayerCache, PreNormLayer, Rope, Span, gelu_tanh

from .config import ChatGLMConfig
from .prefix import Marks, PrefixCache, PrefixSpan


class ChatGLM(Decoder):
    """A prefix decoder: what is before <sop> is read both ways, what follows is generated at the mask."""

    def __init__(self, c: ChatGLMConfig) -> None:
        rope = PlaneRope(c.head_dim, c.max_seq_len, is_rounded=c.has_half_frequencies)
        layers = (
            ScaledSkipLayer(
                Attention(c.hidden_size, c.num_heads, c.num_heads, c.head_dim, rope=rope, has_bias=True),
                MLP(c.hidden_size, c.intermediate_size, gelu_tanh),
                nn.LayerNorm(c.hidden_size, c.norm_eps),
                nn.LayerNorm(c.hidden_size, c.norm_eps),
                alpha=(2 * c.residual_layers) ** 0.5,
            )
            for _ in range(c.num_layers)
        )
        super().__init__(c, layers, nn.LayerNorm(c.hidden_size, c.norm_eps))
        assert c.bos_token_id is not None
        self.marks = Marks(c.bos_token_id, c.mask_token_id, c.gmask_token_id)

    def forward(
        self,
        tokens: Tensor,
        *,
        attention_mask: Tensor | None = None,
        cache: Cache | None = None,
        last: bool = False,
        positions: Tensor | None = None,
    ) -> Tensor:
        """Logits as Decoder.forward gives them; `positions` [B, 2, T] are other rotary positions than the tokens say.

        Raises UsageError for a row that has <sop> but no mask before it, and with a cache for one without <sop>.
        """
        assert cache is None or isinstance(cache, PrefixCache)
        span = PrefixSpan(tokens, self.marks, attention_mask=attention_mask, cache=cache, positions=positions)
        return self.read(self.encode(tokens, span), span, cache=cache, last=last)

    def new_cache(self, batch_size: int, max_len: int) -> PrefixCache:
        """An empty cache for `batch_size` rows of at most `max_len` tokens, padding included."""
        layers: list[LayerCache] = [layer.new_cache(batch_size, max_len) for layer in self.layers]
        return PrefixCache(layers, batch_size, max_len)


class ScaledSkipLayer(PreNormLayer):
    """y + alpha * x of the *normed* x, twice."""

    is_by_token = True

    def __init__(self, *parts: nn.Module, alpha: float) -> None:
        super().__init__(*parts)
        self.alpha = alpha

    def forward(self, x: Tensor, span: Span, cache: Any = None) -> Tensor:
        x = self.attn_norm(x)
        x = self.mlp_norm(x * self.alpha + self.attn(x, span, cache))
        return x * self.alpha + self.mlp(x)


class PlaneRope(Rope):
    """Two positions per token: the first turns the first half of each head, the second the other."""

    def __init__(self, head_dim: int, max_seq_len: int, *, is_rounded: bool) -> None:
        super().__init__(head_dim // 2, RopeConfig(), max_seq_len)
        if is_rounded:
            self.short = [struct.unpack("e", struct.pack("e", f))[0] for f in self.short]

    def forward(self, positions: Tensor, dtype: torch.dtype, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """cos and sin [B, T, 1, 2, F] at `positions` [B, T, 2], in `dtype`."""
        cos, sin = super().forward(positions, dtype)
        return cos.transpose(-2, -3), sin.transpose(-2, -3)

    def rotate(self, x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
        """Rotate x [B, T, N, H]."""
        return super().rotate(x.unflatten(-1, (2, -1)), rotation).flatten(-2)
