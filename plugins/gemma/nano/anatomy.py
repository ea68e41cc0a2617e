"""What a Gemma 3n is made of, weight by weight; apart from `config` for its length."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.anatomy import GROUPED_HEADS, Anatomy

if TYPE_CHECKING:
    from .config import Gemma3nConfig


def describe(c: Gemma3nConfig) -> Anatomy:
    """The whole decoder."""
    a, layers = Anatomy(max_seq_len=c.max_seq_len), range(c.num_layers)
    a.embedding("embed", c.vocab_size, c.hidden_size)
    a.embedding("layer_embed", c.layer_vocab_size, c.num_layers * c.layer_embed_dim)
    a.linear("layer_proj", c.hidden_size, c.num_layers * c.layer_embed_dim, "other")
    a.norm("layer_norm", c.layer_embed_dim)
    for i in range(c.num_streams - 1):
        a.linear(f"streams.{i}", c.hidden_size, c.hidden_size, "other")
    with a.under("layers.{i}", layers):
        for name in ("attn_norm", "attn_post_norm", "mlp_norm", "mlp_post_norm", "layer_norm"):
            a.norm(name, c.hidden_size)
        altup(c, a)
        with a.under("laurel"):
            a.linear("down_proj", c.hidden_size, c.laurel_rank, "other")
            a.linear("up_proj", c.laurel_rank, c.hidden_size, "other")
            a.norm("norm", c.hidden_size)
        a.linear("layer_gate", c.hidden_size, c.layer_embed_dim, "other")
        a.linear("layer_proj", c.layer_embed_dim, c.hidden_size, "other")
    kinds = [(c.width_of(i), c.sparsity_of(i) > 0) for i in layers]
    for width, is_sparse in dict.fromkeys(kinds):
        with a.under("layers.{i}", [i for i in layers if kinds[i] == (width, is_sparse)]):
            sparse_mlp(c, a, width) if is_sparse else a.gated_mlp(c.hidden_size, width)
    attention(c, a)
    a.norm("norm.norm", c.hidden_size)
    for i in range(c.num_streams - 1):
        a.linear(f"norm.streams.{i}", c.hidden_size, c.hidden_size, "other")
    a.head(c.vocab_size, c.hidden_size, tied=c.tie_embeddings)
    a.traits = c.traits()
    return a


def altup(c: Gemma3nConfig, a: Anatomy) -> None:
    """What predicts the streams of a layer, and corrects them."""
    n = c.num_streams
    with a.under("altup"):
        a.weight("scale", (c.hidden_size,), "other")
        a.linear("correction", n, n, "other")
        a.linear("prediction", n, n * n, "other")
        # Read twice: before the layer, and behind it.
        a.weight("router.weight", (n, c.hidden_size), "router", is_matmul=True, used=2.0)
        a.norm("router_norm", c.hidden_size)


def sparse_mlp(c: Gemma3nConfig, a: Anatomy, width: int) -> None:
    """A gated MLP that no rank has a part of: which gates are 0 hangs on all of them."""
    with a.under("mlp"):
        for name in ("gate_proj", "up_proj"):
            a.linear(name, c.hidden_size, width, "mlp")
        a.linear("down_proj", width, c.hidden_size, "mlp")


def attention(c: Gemma3nConfig, a: Anatomy) -> None:
    """Keys and values in the first layers, queries in all."""
    q, kv = c.num_heads * c.head_dim, c.num_kv_heads * c.head_dim
    layers, own = range(c.num_layers), range(c.first_sharing)
    heads = {"num_heads": c.num_heads, "num_kv_heads": c.num_kv_heads}
    with a.under("layers.{i}", layers), a.under("attn", cuts=GROUPED_HEADS, **heads):
        a.linear("q_proj", c.hidden_size, q, "attention")
        a.linear("o_proj", q, c.hidden_size, "attention")
        a.norm("q_norm", c.head_dim)
    with a.under("layers.{i}", own), a.under("attn", cuts=GROUPED_HEADS, **heads):
        a.linear("k_proj", c.hidden_size, kv, "attention")
        a.linear("v_proj", c.hidden_size, kv, "attention")
        a.norm("k_norm", c.head_dim)
    for is_borrowing in (False, True):
        for is_global in (True, False):
            alike = [i for i in layers if (i not in own) == is_borrowing and c.is_global(i) == is_global]
            if alike:
                window = None if is_global else c.sliding_window
                a.attends(alike, c.num_heads, c.num_kv_heads, c.head_dim, window=window, is_borrowing=is_borrowing)
