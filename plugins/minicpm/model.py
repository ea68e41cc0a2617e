"""MiniCPM (arXiv:2404.06395), after the code released with it, and MiniCPM 3, after transformers' port.

Shapes: B batch, T tokens, D hidden, V vocab.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from zoo.anatomy import RopeConfig, yarn_mscale
from zoo.nn import Attention, Decoder, GatedMLP, LatentAttention, RMSNorm, Rope, ScaledLayer, Span

from .config import MiniCPM3Config, MiniCPMConfig


class MiniCPM(Decoder):
    """LLaMA's layers; embeddings, branches and what enters the head are each multiplied by a constant."""

    def __init__(self, c: MiniCPMConfig) -> None:
        super().__init__(c, (layer(c, attn) for attn in self.attentions(c)), RMSNorm(c.hidden_size, c.norm_eps))

    @staticmethod
    def attentions(c: MiniCPMConfig) -> list[nn.Module]:
        """The attention of each layer."""
        rope = Rope(c.head_dim, c.rope, c.max_seq_len)
        make = Attention
        return [make(c.hidden_size, c.num_heads, c.num_kv_heads, c.head_dim, rope=rope) for _ in range(c.num_layers)]

    def encode(self, tokens: Tensor, span: Span) -> Tensor:
        """Scaled embeddings [B, T, D]."""
        return self.embed(tokens) * self.config.embedding_multiplier

    def decode(self, x: Tensor) -> Tensor:
        """Logits [B, T, V] of x [B, T, D], which is scaled to the width that the factors were found at."""
        return self.lm_head(x / (self.config.hidden_size / self.config.base_size))


class MiniCPM3(MiniCPM):
    """MiniCPM with DeepSeek's latent attention, whose rotary channels pair halves."""

    @staticmethod
    def attentions(c: MiniCPM3Config) -> list[nn.Module]:  # type: ignore[override]  # this family's own config
        rope, width = Rope(c.rope_head_dim, c.rope, c.max_seq_len), c.nope_head_dim + c.rope_head_dim
        return [
            LatentAttention(
                c.hidden_size, c.num_heads, rope=rope, q_lora_rank=c.q_lora_rank, kv_lora_rank=c.kv_lora_rank,
                nope_head_dim=c.nope_head_dim, rope_head_dim=c.rope_head_dim, v_head_dim=c.v_head_dim,
                scale=temperature(c.rope) * width**-0.5, has_bias=c.attention_bias,
            )
            for _ in range(c.num_layers)
        ]  # fmt: skip


def layer(c: MiniCPMConfig, attn: nn.Module) -> ScaledLayer:
    return ScaledLayer(
        attn,
        GatedMLP(c.hidden_size, c.intermediate_size, F.silu),
        RMSNorm(c.hidden_size, c.norm_eps),
        RMSNorm(c.hidden_size, c.norm_eps),
        scale=c.scale_depth / c.num_layers**0.5,
    )


def temperature(rope: RopeConfig) -> float:
    """What YaRN as in DeepSeek multiplies the scores by."""
    return yarn_mscale(rope.factor, rope.mscale_all_dim or 0.0) ** 2 if rope.scaling == "yarn" else 1.0
