"""BERT as Hugging Face stores it, from the files of 2018 to transformers 5."""

from __future__ import annotations

from collections.abc import Container

from zoo.weights import (
    Dialect,
    ForeignConfig,
    Table,
    heads_of,
    ignore,
    read_head,
    rename,
    under,
    write_keys,
    write_tokens,
)

from ..config import BertConfig
from ..fields import LM_HEADS, PAIR_HEADS, POOLED_HEADS
from .shared import (
    KEYS,
    UNUSED_HEAD,
    Fields,
    bias,
    encoder,
    name_of_classifier,
    older_names,
    pooler_key,
    read_shared,
    shared_weight,
    write_pooler,
    write_shared,
)

HEADS = heads_of("Bert") | {
    "BertForPreTraining": "pretraining",
    "BertForNextSentencePrediction": "next_sentence",
}  # the first is what a config without `architectures` is taken for


def from_config(hf: ForeignConfig) -> BertConfig:
    hf.require(directionality="bidi", pooler_type="first_token_transform")
    hf.ignore("pooler_fc_size", "pooler_num_attention_heads", "pooler_num_fc_layers", "pooler_size_per_head")
    head = read_head(hf, HEADS, "cls.")
    is_named = hf.raw.get("architectures", ["BertModel"]) == ["BertModel"]
    pooler = pooler_key(hf, head, *POOLED_HEADS, named=is_named)
    values = hf.read(BertConfig, (*KEYS, pooler))
    return BertConfig(**values, **hf.tokens(), **read_shared(hf, head))


def to_config(c: BertConfig) -> Fields:
    return {**write_shared(c, "bert", HEADS), **write_keys(c, KEYS), **write_tokens(c), **write_pooler(c)}


def mapping(c: BertConfig, there: Container[str] = ()) -> Table:
    base = "" if c.head == "none" else "bert"
    return Table(
        encoder(base, has_pooler=c.has_pooler),
        under(
            "lm_head", "cls.predictions",
            rename("dense", "transform.dense"),
            rename("norm", "transform.LayerNorm"),
            *bias(c, "cls.predictions", there),
        ) if c.head in LM_HEADS else ignore("cls.predictions", UNUSED_HEAD),
        shared_weight(c, "cls.predictions.decoder.weight", of=base),
        rename("next_sentence", "cls.seq_relationship") if c.head in PAIR_HEADS
        else ignore("cls.seq_relationship", UNUSED_HEAD),
        rename("classifier", name_of_classifier(c)),
        spelling=older_names("bert", base),
    )  # fmt: skip


BERT = Dialect(from_config=from_config, to_config=to_config, mapping=mapping, mapping_of=mapping)
