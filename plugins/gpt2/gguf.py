"""GPT-2 as llama.cpp stores it: matrices stand upright, q, k and v are one tensor."""

from __future__ import annotations

from typing import Any

from zoo.weights import Dialect, ForeignConfig, Table, key, must_be, rename, write_keys
from zoo.weights.gguf.biased import biased_table
from zoo.weights.gguf.layout import WHERE, by_architecture, fixed, norm_eps, read_rest, read_size, write_rest

from .config import GPT2Config

KEYS = (
    key("hidden_size", "gpt2.embedding_length"),
    key("intermediate_size", "gpt2.feed_forward_length"),
    key("num_layers", "gpt2.block_count"),
    key("num_heads", "gpt2.attention.head_count"),
    key("max_seq_len", "gpt2.context_length"),
    key("norm_eps", "gpt2.attention.layer_norm_epsilon"),
)


def from_config(hf: ForeignConfig) -> GPT2Config:
    c = hf.read(GPT2Config, (*KEYS, key("vocab_size", "gpt2.vocab_size", default=read_size(hf))))
    known = {"gpt2.attention.head_count_kv": c["num_heads"]}
    return GPT2Config(**c | read_rest(hf, "gpt2", **fixed("gpt2"), **known) | {"norm_eps": norm_eps(c)})


def to_config(c: GPT2Config) -> dict[str, Any]:
    must_be(c, WHERE, activation="gelu_tanh", scale_scores=True, scale_scores_by_layer=False)
    sizes = {"gpt2.attention.head_count_kv": c.num_heads, "gpt2.vocab_size": c.vocab_size}
    return {**write_rest(c, "gpt2"), **write_keys(c, KEYS), **sizes}


def mapping(c: GPT2Config) -> Table:
    return biased_table(c, rename("position_embed", "position_embd"))


GPT2 = Dialect(from_config=from_config, to_config=to_config, mapping=mapping, matches=by_architecture("gpt2"))
