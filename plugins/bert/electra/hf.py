"""ELECTRA as Hugging Face stores it."""

from __future__ import annotations

from zoo.weights import (
    Dialect,
    Entry,
    ForeignConfig,
    Table,
    alias,
    heads_of,
    ignore,
    key,
    read_head,
    rename,
    write_keys,
    write_tokens,
)

from ..hf.shared import (
    KEYS,
    UNUSED_HEAD,
    Fields,
    encoder,
    name_of_classifier,
    older_names,
    read_shared,
    write_shared,
)
from .config import ElectraConfig

HEADS = heads_of("Electra") | {"ElectraForPreTraining": "replaced_tokens"}
SIZES = (*KEYS, key("embed_size", "embedding_size", default=128))
GENERATOR, DISCRIMINATOR = ("generator_predictions", "generator_lm_head"), "discriminator_predictions"
SUMMARY = {"summary_type": "first", "summary_use_proj": True, "summary_activation": "gelu"}


def from_config(hf: ForeignConfig) -> ElectraConfig:
    head = read_head(hf, HEADS, f"{GENERATOR[0]}.", f"{DISCRIMINATOR}.")
    if head == "multiple_choice":
        hf.require(**SUMMARY)
    # how the choice is read, by a head that others do not have; how the generator was made smaller
    hf.ignore(*SUMMARY, "summary_last_dropout", "summary_first_dropout", "summary_proj_to_labels", "generator_size")
    return ElectraConfig(**hf.read(ElectraConfig, SIZES), **hf.tokens(), **read_shared(hf, head))


def to_config(c: ElectraConfig) -> Fields:
    summary = SUMMARY if c.head == "multiple_choice" else {}
    return {**write_shared(c, "electra", HEADS), **write_keys(c, SIZES), **summary, **write_tokens(c)}


def mapping(c: ElectraConfig) -> Table:
    base = "" if c.head == "none" else "electra"
    # a projection that is not in the model leaves no tensor to read: one in the file is unexpected
    trunk = encoder(base, rename("embed.proj", "embeddings_project"), has_pooler=False)
    return Table(trunk, _lm_head(c, base), _classifier(c), spelling=older_names("electra", base))


def _lm_head(c: ElectraConfig, base: str) -> list[Entry]:
    if c.head != "masked_lm":
        return [ignore(name, UNUSED_HEAD) for name in GENERATOR]
    copy = [alias("generator_lm_head.weight", of=f"{base}.embeddings.word_embeddings.weight")]
    return [
        rename("lm_head.dense", "generator_predictions.dense"),
        rename("lm_head.norm", "generator_predictions.LayerNorm"),
        rename("lm_head.decoder", "generator_lm_head"),
        *(copy if c.tie_embeddings else []),
    ]


def _classifier(c: ElectraConfig) -> list[Entry]:
    if c.head == "replaced_tokens":
        return [
            rename("classifier.dense", f"{DISCRIMINATOR}.dense"),
            rename("classifier.out_proj", f"{DISCRIMINATOR}.dense_prediction"),
        ]
    unused = ignore(DISCRIMINATOR, UNUSED_HEAD)
    if c.head == "multiple_choice":
        choice = rename("classifier.dense", "sequence_summary.summary"), rename("classifier.out_proj", "classifier")
        return [*choice, unused]
    return [rename("classifier", name_of_classifier(c)), unused]


ELECTRA = Dialect(from_config=from_config, to_config=to_config, mapping=mapping)
