"""BLOOM as llama.cpp stores it: q, k and v one after the other in one tensor, and not head by head."""

from __future__ import annotations

from typing import Any

from zoo.weights import Dialect, ForeignConfig, Table, key, must_be, rename, write_keys
from zoo.weights.gguf.biased import biased_table
from zoo.weights.gguf.layout import WHERE, by_architecture, fixed, norm_eps, read_rest, read_size, write_rest

from .config import BloomConfig

KEYS = (
    key("hidden_size", "bloom.embedding_length"),
    key("num_layers", "bloom.block_count"),
    key("num_heads", "bloom.attention.head_count"),
    key("max_seq_len", "bloom.context_length"),
    key("norm_eps", "bloom.attention.layer_norm_epsilon"),
)


def from_config(hf: ForeignConfig) -> BloomConfig:
    c = hf.read(BloomConfig, (*KEYS, key("vocab_size", "bloom.vocab_size", default=read_size(hf))))
    sizes = {"feed_forward_length": 4 * c["hidden_size"], "attention.head_count_kv": c["num_heads"]}
    known = {f"bloom.{name}": value for name, value in sizes.items()}
    return BloomConfig(**c | read_rest(hf, "bloom", **fixed("bloom"), **known) | {"norm_eps": norm_eps(c)})


def to_config(c: BloomConfig) -> dict[str, Any]:
    must_be(c, WHERE, norm_residual=False)
    sizes = {"feed_forward_length": 4 * c.hidden_size, "attention.head_count_kv": c.num_heads}
    sizes |= {"vocab_size": c.vocab_size}
    return {**write_rest(c, "bloom"), **write_keys(c, KEYS), **{f"bloom.{n}": size for n, size in sizes.items()}}


def mapping(c: BloomConfig) -> Table:
    return biased_table(c, rename("embed_norm", "token_embd_norm"))


BLOOM = Dialect(from_config=from_config, to_config=to_config, mapping=mapping, matches=by_architecture("bloom"))
