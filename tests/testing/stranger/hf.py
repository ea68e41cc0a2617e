"""A Stranger as its authors store it."""

from __future__ import annotations

from typing import Any

from zoo.weights import Dialect, ForeignConfig, Table, alias, key, rename, rule, split, under, write_keys, write_tokens

from .config import StrangerConfig

KEYS = (
    key("vocab_size"),
    key("hidden_size", "n_embd"),
    key("num_layers", "n_layer"),
    key("num_heads", "n_head"),
    key("max_seq_len", "n_positions"),
    key("norm_eps", "layer_norm_epsilon", default=1e-5),
    key("tie_embeddings", "tie_word_embeddings", default=False),
)


def from_config(hf: ForeignConfig) -> StrangerConfig:
    return StrangerConfig(**hf.read(StrangerConfig, KEYS), **hf.tokens())


def to_config(c: StrangerConfig) -> dict[str, Any]:
    return {"model_type": "stranger", **write_keys(c, KEYS), **write_tokens(c)}


def mapping(c: StrangerConfig) -> Table:
    dim = c.hidden_size
    return Table(
        rename("embed", "wte"),
        rename("position", "wpe"),
        under(
            "layers.{i}",
            "h.{i}",
            rename("norm", "ln"),
            rule(("attn.q_proj", "attn.k_proj", "attn.v_proj"), "attn.qkv", split(dim, dim, dim)),
            rename("attn.o_proj", "attn.out"),
        ),
        alias("lm_head.weight", of="wte.weight") if c.tie_embeddings else rename("lm_head", "lm_head"),
    )


STRANGER = Dialect(from_config=from_config, to_config=to_config, mapping=mapping)
