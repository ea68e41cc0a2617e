"""ALBERT as Hugging Face stores it, v1 and v2 alike."""

from __future__ import annotations

from collections.abc import Container

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

from ..fields import LM_HEADS
from ..hf.shared import (
    KEYS,
    UNUSED_HEAD,
    Fields,
    attention,
    bias,
    embeddings,
    name_of_classifier,
    older_names,
    pooler_key,
    read_shared,
    shared_weight,
    write_pooler,
    write_shared,
)
from .config import POOLED, AlbertConfig

HEADS = heads_of("Albert") | {"AlbertForPreTraining": "pretraining"}
SIZES = (
    *KEYS,
    key("embed_size", "embedding_size", default=128),
    key("num_layer_groups", "num_hidden_groups", default=1),
    key("layers_per_group", "inner_group_num", default=1),
)
# Of the code that trained them, which transformers does not read: no released file has another value.
UNREAD = {"gap_size": 0, "net_structure_type": 0, "num_memory_blocks": 0, "down_scale_factor": 1, "layers_to_keep": []}
LAYER = (
    *attention("attention", "query", "key", "value"),
    rename("attn.o_proj", "attention.dense"),
    rename("attn_norm", "attention.LayerNorm"),
    rename("mlp.up_proj", "ffn"),
    rename("mlp.down_proj", "ffn_output"),
    rename("mlp_norm", "full_layer_layer_norm"),
)


def from_config(hf: ForeignConfig) -> AlbertConfig:
    head = read_head(hf, HEADS, "predictions.", "sop_classifier.")
    hf.require(**UNREAD)
    hf.ignore("classifier_dropout_prob")
    values = hf.read(AlbertConfig, (*SIZES, pooler_key(hf, head, *POOLED)))
    return AlbertConfig(**values, **hf.tokens(), **read_shared(hf, head, silent="gelu_new"))


def to_config(c: AlbertConfig) -> Fields:
    return {**write_shared(c, "albert", HEADS), **write_keys(c, SIZES), **write_tokens(c), **write_pooler(c)}


def mapping(c: AlbertConfig, there: Container[str] = ()) -> Table:
    base = "" if c.head == "none" else "albert"
    trunk = under(
        "", base,
        *embeddings(),
        rename("embed.proj", "encoder.embedding_hidden_mapping_in"),
        *_layers(c),
        rename("pooler.dense", "pooler") if c.has_pooler else ignore("pooler", "a pooler that model.head does not use"),
    )  # fmt: skip
    return Table(trunk, _lm_head(c, base, there), _classifier(c), spelling=older_names("albert", base))


def _layers(c: AlbertConfig) -> list[Entry]:
    own, size = range(c.num_layer_groups * c.layers_per_group), c.layers_per_group
    home = "encoder.albert_layer_groups"
    return [e for i in own for e in under(f"layers.{i}", f"{home}.{i // size}.albert_layers.{i % size}", *LAYER)]


def _lm_head(c: AlbertConfig, base: str, there: Container[str]) -> list[Entry]:
    if c.head not in LM_HEADS:
        return [ignore("predictions", UNUSED_HEAD)]
    inside = rename("dense", "dense"), rename("norm", "LayerNorm"), *bias(c, "predictions", there)
    return [*under("lm_head", "predictions", *inside), *shared_weight(c, "predictions.decoder.weight", of=base)]


def _classifier(c: AlbertConfig) -> list[Entry]:
    order = "sop_classifier.classifier"
    return [
        rename("next_sentence", order) if c.head == "pretraining" else ignore(order, UNUSED_HEAD),
        rename("classifier", name_of_classifier(c)),
    ]


ALBERT = Dialect(from_config=from_config, to_config=to_config, mapping=mapping, mapping_of=mapping)
