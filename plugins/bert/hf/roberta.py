"""RoBERTa as Hugging Face stores it."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping

from zoo.errors import CheckpointError
from zoo.weights import (
    Dialect,
    Entry,
    ForeignConfig,
    Key,
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

from ..config import RobertaConfig
from ..fields import LM_HEADS, EncoderConfig
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

HEADS = heads_of("Roberta")


def from_config(hf: ForeignConfig) -> RobertaConfig:
    is_named = hf.raw.get("architectures", ["RobertaModel"]) == ["RobertaModel"]
    return RobertaConfig(**read_positions(hf, RobertaConfig, HEADS, KEYS, is_named=is_named))


def read_positions(
    hf: ForeignConfig, kind: type[RobertaConfig], heads: Mapping[str, str], keys: Iterable[Key], *, is_named: bool
) -> Fields:
    """The fields of a config whose positions are counted from its padding, whose table holds more rows than tokens."""
    head = read_head(hf, heads, "lm_head.")
    # where a file is silent, the defaults of transformers' class: BERT's, but for padding
    pooler, pad = pooler_key(hf, head, "multiple_choice", named=is_named), key("pad_token_id", default=1)
    values = hf.tokens() | hf.read(kind, (*keys, pooler, pad))
    if values["pad_token_id"] is None:
        raise CheckpointError(hf.file, "pad_token_id", "null is not a token, and positions are counted from it")
    values["max_seq_len"] -= values["pad_token_id"] + 1  # theirs counts the rows of the table
    return values | read_shared(hf, head)


def to_config(c: RobertaConfig) -> Fields:
    return write_positions(c, "roberta", HEADS)


def write_positions(c: RobertaConfig, model_type: str, heads: Mapping[str, str]) -> Fields:
    """What `read_positions` reads."""
    return {
        **write_shared(c, model_type, heads),
        **write_keys(c, KEYS),
        "max_position_embeddings": c.num_positions,
        **write_tokens(c),
        **write_pooler(c),
    }


def mapping(c: RobertaConfig, there: Container[str] = ()) -> Table:
    base = "" if c.head == "none" else "roberta"
    return Table(
        encoder(base, has_pooler=c.has_pooler), head_rules(c, base, there), spelling=older_names("roberta", base)
    )


def head_rules(c: EncoderConfig, base: str, there: Container[str]) -> list[Entry]:
    """The heads, and the embedding of the trunk `base` where the masked-LM head has a copy of it."""
    inside = rename("dense", "dense"), rename("norm", "layer_norm"), *bias(c, "lm_head", there)
    return [
        *(under("lm_head", "lm_head", *inside) if c.head in LM_HEADS else [ignore("lm_head", UNUSED_HEAD)]),
        *shared_weight(c, "lm_head.decoder.weight", of=base),
        rename("classifier", name_of_classifier(c)),
    ]


ROBERTA = Dialect(from_config=from_config, to_config=to_config, mapping=mapping, mapping_of=mapping)
