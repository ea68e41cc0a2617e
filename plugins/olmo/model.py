"""OLMo 2 (arXiv:2501.00656) and OLMo 3 (arXiv:2512.13961), after transformers' port of the released code."""

from __future__ import annotations

from functools import partial

from torch import nn
from torch.nn import functional as F

from zoo.nn import BranchNormLayer, Decoder, GatedMLP, JointRMSNorm, LateCastRMSNorm, Mask, Rope, WholeAttention

from .config import Olmo2Config


class Olmo2(Decoder):
    """Layers whose branches are normed at their end, with queries and keys normed over all heads at once."""

    def __init__(self, c: Olmo2Config) -> None:
        rope = Rope(c.head_dim, c.rope, c.max_seq_len)
        local = Rope(c.head_dim, c.local_rope, c.max_seq_len)
        windows = [c.window_of(i) for i in range(c.num_layers)]
        layers = (layer(c, rope if window is None else local, Mask(window=window)) for window in windows)
        super().__init__(c, layers, LateCastRMSNorm(c.hidden_size, c.norm_eps))


def layer(c: Olmo2Config, rope: Rope, mask: Mask) -> nn.Module:
    return BranchNormLayer(
        attn=WholeAttention(
            c.hidden_size, c.num_heads, c.num_kv_heads, c.head_dim, rope=rope, mask=mask, has_bias=c.attention_bias,
            heads_norm=partial(JointRMSNorm, eps=c.norm_eps),
        ),
        mlp=GatedMLP(c.hidden_size, c.intermediate_size, F.silu),
        attn_norm=LateCastRMSNorm(c.hidden_size, c.norm_eps),
        mlp_norm=LateCastRMSNorm(c.hidden_size, c.norm_eps),
    )  # fmt: skip
