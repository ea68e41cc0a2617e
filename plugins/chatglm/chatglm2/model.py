"""ChatGLM2-6B, ChatGLM3-6B and GLM-4-9B (arXiv:2406.12793), after the code released with their weights.

That code's `post_layer_norm` is the norm behind the last layer; the layers themselves are pre-norm throughout. Its
`apply_query_key_layer_scaling` does nothing to the numbers. Apart from model.py: the first ChatGLM is another model.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from zoo.nn import Attention, Cache, Decoder, GatedMLP, PreNormLayer, RMSNorm, Rope, Span

from .config import ChatGLM2Config


class ChatGLM2(Decoder):
    """LLaMA's block with biases on q, k and v; interleaved pairs in the first half of each head rotate."""

    def __init__(self, c: ChatGLM2Config) -> None:
        rope = Rope(c.head_dim, c.rope, c.max_seq_len, is_interleaved=True)
        heads = c.num_heads, c.num_kv_heads, c.head_dim
        layers = (
            PreNormLayer(
                Attention(c.hidden_size, *heads, rope=rope, has_bias=c.attention_bias, has_out_bias=False),
                GatedMLP(c.hidden_size, c.intermediate_size, F.silu),
                RMSNorm(c.hidden_size, c.norm_eps),
                RMSNorm(c.hidden_size, c.norm_eps),
            )
            for _ in range(c.num_layers)
        )
        super().__init__(c, layers, RMSNorm(c.hidden_size, c.norm_eps))

    def forward(
        self,
        tokens: Tensor,
        *,
        attention_mask: Tensor | None = None,
        cache: Cache | None = None,
        last: bool = False,
        positions: Tensor | None = None,
    ) -> Tensor:
        """Logits as Decoder.forward gives them; `positions` [B, T] are rotary positions other than 0, 1, 2..."""
        batch_size, num_new = tokens.shape
        span = Span(
            batch_size, num_new, tokens.device,
            attention_mask=attention_mask, cache=cache, rotary_positions=positions,
        )  # fmt: skip
        return self.read(self.encode(tokens, span), span, cache=cache, last=last)
