"""CodeGen (arXiv:2203.13474), after transformers' port.

Shapes: B batch, T tokens, D hidden.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from zoo.nn import MLP, Attention, Decoder, KVCache, Rope, Span, gelu_tanh

from .config import CodeGenConfig


class CodeGen(Decoder):
    """Embed, a stack of parallel layers, norm, a head with a bias."""

    def __init__(self, c: CodeGenConfig) -> None:
        rope = Rope(c.head_dim, c.rope, c.max_seq_len, is_interleaved=True)
        layers = (ParallelLayer(c, rope) for _ in range(c.num_layers))
        super().__init__(c, layers, nn.LayerNorm(c.hidden_size, c.norm_eps), head_bias=True)


class ParallelLayer(nn.Module):
    """x + attn(norm(x)) + mlp(norm(x))."""

    def __init__(self, c: CodeGenConfig, rope: Rope) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(c.hidden_size, c.norm_eps)
        self.attn = Attention(c.hidden_size, c.num_heads, c.num_kv_heads, c.head_dim, rope=rope)
        self.mlp = MLP(c.hidden_size, c.intermediate_size, gelu_tanh)

    def forward(self, x: Tensor, span: Span, cache: Any = None) -> Tensor:
        normed = self.norm(x)
        return x + self.attn(normed, span, cache) + self.mlp(normed)

    def new_cache(self, batch_size: int, max_len: int) -> KVCache:
        return self.attn.new_cache(batch_size, max_len)
