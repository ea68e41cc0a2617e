"""What a Gemma 4 is made of, weight by weight; apart from `config` for its length."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.anatomy import GROUPED_HEADS, Anatomy

if TYPE_CHECKING:
    from .config import Gemma4Config

NORMS = ("attn_norm", "attn_post_norm", "mlp_norm", "mlp_post_norm")


def describe(c: Gemma4Config) -> Anatomy:
    """The whole decoder."""
    a, layers = Anatomy(max_seq_len=c.max_seq_len), range(c.num_layers)
    a.embedding("embed", c.vocab_size, c.hidden_size)
    if c.layer_embed_dim is not None:
        a.embedding("layer_embed", c.vocab_size, c.num_layers * c.layer_embed_dim)
        a.linear("layer_proj", c.hidden_size, c.num_layers * c.layer_embed_dim, "other")
        a.norm("layer_norm", c.layer_embed_dim)
    with a.under("layers.{i}", layers):
        for name in NORMS:
            a.norm(name, c.hidden_size)
        a.weight("scalar", (1,), "other")
        if c.num_experts is not None:
            mixture(c, a, c.num_experts)
        if c.layer_embed_dim is not None:
            a.linear("layer_gate", c.hidden_size, c.layer_embed_dim, "other")
            a.linear("layer_proj", c.layer_embed_dim, c.hidden_size, "other")
            a.norm("layer_norm", c.hidden_size)
    for width in dict.fromkeys(map(c.width_of, layers)):
        with a.under("layers.{i}", [i for i in layers if c.width_of(i) == width]):
            a.gated_mlp(c.hidden_size, width)
    for is_global in (True, False):
        attention(c, a, is_global)
    a.norm("norm", c.hidden_size)
    a.head(c.vocab_size, c.hidden_size, tied=c.tie_embeddings)
    a.traits = c.traits()
    return a


def mixture(c: Gemma4Config, a: Anatomy, num_experts: int) -> None:
    """Experts beside the MLP, with norms of their own."""
    a.moe(c.hidden_size, c.expert_size, num_experts, c.experts_per_token, name="moe")
    a.weight("moe.gain", (c.hidden_size,), "router")
    a.weight("moe.router.expert_scale", (num_experts,), "router")
    for name in ("norm", "post_norm", "mlp_norm"):
        a.norm(f"moe.{name}", c.hidden_size)


def attention(c: Gemma4Config, a: Anatomy, is_global: bool) -> None:
    """Of the layers of a kind: queries in all, keys and values in those before the first that shares."""
    layers = [i for i in range(c.num_layers) if c.is_global(i) == is_global]
    own = [i for i in layers if i < c.first_sharing]
    num_heads, num_kv_heads, head_dim = c.heads_of(is_global)
    cuts = {"cuts": GROUPED_HEADS, "num_heads": num_heads, "num_kv_heads": num_kv_heads}
    with a.under("layers.{i}", layers), a.under("attn", **cuts):
        a.linear("q_proj", c.hidden_size, num_heads * head_dim, "attention")
        a.linear("o_proj", num_heads * head_dim, c.hidden_size, "attention")
        a.norm("q_norm", head_dim)
    with a.under("layers.{i}", own), a.under("attn", **cuts):
        a.linear("k_proj", c.hidden_size, num_kv_heads * head_dim, "attention")
        if not (is_global and c.has_equal_keys):
            a.linear("v_proj", c.hidden_size, num_kv_heads * head_dim, "attention")
        a.norm("k_norm", head_dim)
    window = None if is_global else c.sliding_window
    for alike in (own, [i for i in layers if i not in own]):
        if alike:
            a.attends(alike, num_heads, num_kv_heads, head_dim, window=window, is_borrowing=alike is not own)
