"""EXAONE 3 (arXiv:2408.03541), after its released code, and 4.0 (arXiv:2507.11407), after transformers' port."""

from __future__ import annotations

from functools import partial

from torch.nn import functional as F

from zoo.nn import Attention, BranchNormLayer, Decoder, GatedMLP, Mask, PreNormLayer, RMSNorm, Rope

from .config import Exaone4Config, ExaoneConfig


class Exaone(Decoder):
    """LLaMA's layers."""

    def __init__(self, c: ExaoneConfig) -> None:
        rope, norm = Rope(c.head_dim, c.rope, c.max_seq_len), partial(RMSNorm, eps=c.norm_eps)
        attn = partial(Attention, c.hidden_size, c.num_heads, c.num_kv_heads, c.head_dim, rope=rope)
        mlp = partial(GatedMLP, c.hidden_size, c.intermediate_size, F.silu)
        d = c.hidden_size
        super().__init__(c, (PreNormLayer(attn(), mlp(), norm(d), norm(d)) for _ in range(c.num_layers)), norm(d))


class Exaone4(Decoder):
    """Layers whose branches are normed at their end; where some have a window, the others know no positions."""

    def __init__(self, c: Exaone4Config) -> None:
        rope, norm = Rope(c.head_dim, c.rope, c.max_seq_len), partial(RMSNorm, eps=c.norm_eps)
        layers = (
            BranchNormLayer(
                attention(c, rope, i),
                GatedMLP(c.hidden_size, c.intermediate_size, F.silu),
                norm(c.hidden_size),
                norm(c.hidden_size),
            )
            for i in range(c.num_layers)
        )
        super().__init__(c, layers, norm(c.hidden_size))


def attention(c: Exaone4Config, rope: Rope, index: int) -> Attention:
    window = c.window_of(index)
    return Attention(
        c.hidden_size, c.num_heads, c.num_kv_heads, c.head_dim, mask=Mask(window=window),
        rope=rope if c.sliding_window is None or window is not None else None,
        qk_norm=partial(RMSNorm, eps=c.norm_eps),
    )  # fmt: skip
