"""RoBERTa as Hugging Face stores it."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from zoo.errors import CheckpointError
from zoo.weights import Dialect, ForeignConfig, Table, ignore, key, rename, under, write_keys, write_tokens

from ..config import LM_HEADS, RobertaConfig
from .shared import (
    KEYS,
    UNUSED_HEAD,
    bias,
    encoder,
    name_of_classifier,
    older_names,
    read_head,
    read_shared,
    shared_weight,
    write_pooler,
    write_shared,
)

HEADS = {
    "RobertaModel": "none",
    "RobertaForMaskedLM": "masked_lm",
    "RobertaForSequenceClassification": "sequence_classification",
    "RobertaForTokenClassification": "token_classification",
    "RobertaForQuestionAnswering": "question_answering",
    "RobertaForMultipleChoice": "multiple_choice",
}


def from_config(hf: ForeignConfig) -> RobertaConfig:
    head = read_head(hf, HEADS)
    # where a file is silent, the defaults of transformers' class: BERT's, but for padding
    pooler, pad = (
        key("has_pooler", "add_pooling_layer", default=head in ("none", "multiple_choice")),
        key("pad_token_id", default=1),
    )
    values = hf.tokens() | hf.read(RobertaConfig, (*KEYS, pooler, pad))
    if values["pad_token_id"] is None:
        raise CheckpointError(hf.file, "pad_token_id", "null is not a token, and positions are counted from it")
    values["max_seq_len"] -= values["pad_token_id"] + 1  # theirs counts the rows of the table
    return RobertaConfig(**values, **read_shared(hf, head))


def to_config(c: RobertaConfig) -> dict[str, Any]:
    return {
        **write_shared(c, "roberta", HEADS),
        **write_keys(c, KEYS),
        "max_position_embeddings": c.num_positions,
        **write_tokens(c),
        **write_pooler(c),
    }


def mapping(c: RobertaConfig, there: Container[str] = ()) -> Table:
    base = "" if c.head == "none" else "roberta"
    return Table(
        encoder(base, has_pooler=c.has_pooler),
        under("lm_head", "lm_head", rename("dense", "dense"), rename("norm", "layer_norm"), *bias(c, "lm_head", there))
        if c.head in LM_HEADS
        else ignore("lm_head", UNUSED_HEAD),
        shared_weight(c, "lm_head.decoder.weight", of=base),
        rename("classifier", name_of_classifier(c)),
        spelling=older_names("roberta", base),
    )


ROBERTA = Dialect(from_config=from_config, to_config=to_config, mapping=mapping, mapping_of=mapping)
