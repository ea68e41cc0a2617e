"""GPT-2 (Radford et al., 2019): LayerNorm before each branch, learned positions, biases everywhere.

Shapes: B batch, T queries, D hidden.
"""

from __future__ import annotations

from torch import Tensor, nn

from zoo.nn import ACTIVATIONS, MLP, Attention, Cache, Decoder, LearnedPositions, PreNormLayer, Span, initialise

from .config import GPT2Config


class GPT2(Decoder):
    """Pre-norm layers of multi-head attention over tokens to which the embedding of their position was added."""

    def __init__(self, c: GPT2Config) -> None:
        super().__init__(c, (layer(c, i) for i in range(c.num_layers)), nn.LayerNorm(c.hidden_size, c.norm_eps))
        self.position_embed = LearnedPositions(c.max_seq_len, c.hidden_size)

    def encode(self, tokens: Tensor, span: Span) -> Tensor:
        """Token and position embeddings added, [B, T, D]. Raises UsageError beyond the last learned position."""
        return self.embed(tokens) + self.position_embed(span)

    def new_cache(self, batch_size: int, max_len: int) -> Cache:
        """An empty cache, no longer than there are positions, so that what does not fit is refused at the start."""
        return super().new_cache(batch_size, min(max_len, self.position_embed.num_embeddings))

    def reset_parameters(self) -> None:
        """Random weights, those that write to the residual stream smaller by the root of how many there are."""
        initialise(self)
        for name, weight in self.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                nn.init.normal_(weight, std=0.02 / (2 * len(self.layers)) ** 0.5)


def layer(c: GPT2Config, index: int) -> PreNormLayer:
    head_dim = c.hidden_size // c.num_heads
    scale = (head_dim**-0.5 if c.scale_scores else 1.0) / (index + 1 if c.scale_scores_by_layer else 1)
    return PreNormLayer(
        attn=Attention(
            c.hidden_size, c.num_heads, c.num_heads, head_dim, has_bias=True, scale=scale, is_upcast=c.upcast_scores
        ),
        mlp=MLP(c.hidden_size, c.intermediate_size, ACTIVATIONS[c.activation]),
        attn_norm=nn.LayerNorm(c.hidden_size, c.norm_eps),
        mlp_norm=nn.LayerNorm(c.hidden_size, c.norm_eps),
    )
