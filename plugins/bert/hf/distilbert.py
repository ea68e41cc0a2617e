"""DistilBERT as Hugging Face stores it."""

from __future__ import annotations

from typing import Any

from zoo.weights import (
    Dialect,
    Entry,
    ForeignConfig,
    Table,
    heads_of,
    ignore,
    key,
    read_head,
    rename,
    under,
    write_keys,
    write_tokens,
)

from ..config import DistilBertConfig
from .shared import UNUSED_HEAD, name_of_classifier, older_names, read_shared, shared_weight, write_shared

HEADS = heads_of("DistilBert")
KEYS = (
    key("vocab_size"),
    key("hidden_size", "dim", also=("hidden_size",)),
    key("intermediate_size", "hidden_dim"),
    key("num_layers", "n_layers", also=("num_hidden_layers",)),
    key("num_heads", "n_heads", also=("num_attention_heads",)),
    key("max_seq_len", "max_position_embeddings", default=512),
    key("tie_embeddings", "tie_word_embeddings", default=True),
)


def from_config(hf: ForeignConfig) -> DistilBertConfig:
    # sinusoidal_pos_embds says how the position table was begun; the table itself is in the file either way
    hf.ignore("sinusoidal_pos_embds", "tie_weights_", "dropout", "attention_dropout", "qa_dropout")
    hf.ignore("seq_classif_dropout")
    values = hf.read(DistilBertConfig, KEYS)
    return DistilBertConfig(**values, **hf.tokens(), **read_shared(hf, read_head(hf, HEADS, "vocab_"), "activation"))


def to_config(c: DistilBertConfig) -> dict[str, Any]:
    return {**write_shared(c, "distilbert", HEADS, "activation"), **write_keys(c, KEYS), **write_tokens(c)}


def mapping(c: DistilBertConfig) -> Table:
    base = "" if c.head == "none" else "distilbert"
    return Table(
        under(
            "", base,
            rename("embed.tokens", "embeddings.word_embeddings"),
            rename("embed.positions", "embeddings.position_embeddings"),
            rename("embed.norm", "embeddings.LayerNorm"),
            ignore("embeddings.position_ids", "a buffer that counts 0, 1, 2, ..."),
            *_layer(),
        ),
        _lm_head(c),
        shared_weight(c, "vocab_projector.weight", of=base),
        rename("classifier.dense", "pre_classifier"),
        rename("classifier.out_proj", "classifier"),
        rename("classifier", name_of_classifier(c)),
        spelling=older_names("distilbert", base),
    )  # fmt: skip


def _layer() -> list[Entry]:
    return under(
        "layers.{i}", "transformer.layer.{i}",
        rename("attn.q_proj", "attention.q_lin"),
        rename("attn.k_proj", "attention.k_lin"),
        rename("attn.v_proj", "attention.v_lin"),
        rename("attn.o_proj", "attention.out_lin"),
        rename("attn_norm", "sa_layer_norm"),
        rename("mlp.up_proj", "ffn.lin1"),
        rename("mlp.down_proj", "ffn.lin2"),
        rename("mlp_norm", "output_layer_norm"),
    )  # fmt: skip


def _lm_head(c: DistilBertConfig) -> list[Entry]:
    if c.head != "masked_lm":
        return [ignore(f"vocab_{part}", UNUSED_HEAD) for part in ("transform", "layer_norm", "projector")]
    return [
        rename("lm_head.dense", "vocab_transform"),
        rename("lm_head.norm", "vocab_layer_norm"),
        rename("lm_head.decoder", "vocab_projector"),
    ]


DISTILBERT = Dialect(from_config=from_config, to_config=to_config, mapping=mapping)
