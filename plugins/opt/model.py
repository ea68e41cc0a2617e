"""OPT (arXiv:2205.01068), after transformers' port of the released code.

Shapes: B batch, T queries, D hidden, E embedding, V vocab.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from zoo.nn import ACTIVATIONS, MLP, Attention, Cache, Decoder, LearnedPositions, PostNormLayer, PreNormLayer, Span

from .config import OFFSET, OPTConfig

EPS = 1e-5  # of every norm: no config.json has a key for it


class OPT(Decoder):
    """Multi-head attention over tokens to which the embedding of their position was added; the MLP is ReLU's."""

    def __init__(self, c: OPTConfig) -> None:
        norm = nn.LayerNorm(c.hidden_size, EPS) if c.is_pre_norm else nn.Identity()
        super().__init__(c, (layer(c) for _ in range(c.num_layers)), norm)
        self.position_embed = OffsetPositions(c.max_seq_len, c.hidden_size)
        is_wide = c.embed_size == c.hidden_size
        self.in_proj = nn.Identity() if is_wide else nn.Linear(c.embed_size, c.hidden_size, bias=False)
        self.out_proj = nn.Identity() if is_wide else nn.Linear(c.hidden_size, c.embed_size, bias=False)
        self.embed = nn.Embedding(c.vocab_size, c.embed_size)
        self.lm_head = nn.Linear(c.embed_size, c.vocab_size, bias=False)
        if c.tie_embeddings:
            self.lm_head.weight = self.embed.weight

    def encode(self, tokens: Tensor, span: Span) -> Tensor:
        """Token and position embeddings added, [B, T, D]. Raises UsageError beyond the last learned position."""
        return self.in_proj(self.embed(tokens)) + self.position_embed(span)

    def decode(self, x: Tensor) -> Tensor:
        """Logits [B, T, V] of x [B, T, D]."""
        return self.lm_head(self.out_proj(x))

    def new_cache(self, batch_size: int, max_len: int) -> Cache:
        """An empty cache, no longer than there are positions, so that what does not fit is refused at the start."""
        return super().new_cache(batch_size, min(max_len, self.config.max_seq_len))


class OffsetPositions(LearnedPositions):
    """Learned positions behind rows that no token uses: the first is of padding in the code that trained them."""

    def __init__(self, max_seq_len: int, hidden_size: int) -> None:
        super().__init__(max_seq_len + OFFSET, hidden_size)

    def forward(self, span: Span) -> Tensor:
        """[B or 1, T, D] of the new tokens. Raises UsageError beyond the last learned position."""
        self.refuse_beyond(span, self.num_embeddings - OFFSET)
        return F.embedding(span.positions + OFFSET, self.weight)


def layer(c: OPTConfig) -> nn.Module:
    kind = PreNormLayer if c.is_pre_norm else PostNormLayer
    return kind(
        Attention(c.hidden_size, c.num_heads, c.num_heads, c.hidden_size // c.num_heads, has_bias=c.has_bias),
        MLP(c.hidden_size, c.intermediate_size, ACTIVATIONS[c.activation], bias=c.has_bias),
        nn.LayerNorm(c.hidden_size, EPS),
        nn.LayerNorm(c.hidden_size, EPS),
    )
