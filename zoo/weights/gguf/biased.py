"""The tensors' names of the decoders of GPT-2's kind, as llama.cpp's files have them."""

from __future__ import annotations

from typing import Any

from zoo.weights.entries import Entry, rename, rule, under
from zoo.weights.ops import split
from zoo.weights.table import Table

__all__ = ["biased_table"]


def biased_table(c: Any, *own: Entry) -> Table:
    """GPT-2's tensors and BLOOM's, each one's `own` behind the embedding: q, k and v in one, a bias on all."""
    d = c.hidden_size
    return Table(
        rename("embed", "token_embd"),
        *own,
        under(
            "layers.{i}", "blk.{i}",
            rename("attn_norm", "attn_norm"),
            rule(("attn.q_proj", "attn.k_proj", "attn.v_proj"), "attn_qkv", split(d, d, d)),
            rename("attn.o_proj", "attn_output"),
            rename("mlp_norm", "ffn_norm"),
            rename("mlp.up_proj", "ffn_up"),
            rename("mlp.down_proj", "ffn_down"),
        ),
        rename("norm", "output_norm"),
        [] if c.tie_embeddings else rename("lm_head", "output"),
    )  # fmt: skip
