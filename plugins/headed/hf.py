"""Decoders under another head as Hugging Face stores them: the config and the table of their family, and the head's.

The class in `architectures` says which head it is: LlamaForSequenceClassification, Qwen2ForTokenClassification, or a
bare MistralModel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from zoo.errors import CheckpointError, clean
from zoo.registry import installed
from zoo.weights import (
    Alias,
    Dialect,
    Entry,
    ForeignConfig,
    Rule,
    Table,
    TensorInfo,
    ignore,
    read_labels,
    rename,
    under,
    write_labels,
)

from .config import TRUNK, HeadedConfig, is_of_head
from .hf_classes import CAUSAL, SUFFIXES, head_of, matches, trunk_of, without_class

BIAS = "token_classification_bias"
SCORES = ("score", "classifier")  # what transformers calls the head; GPT-2, BLOOM and their kin know the second, too
READ_BY = "if it is to continue texts, read it with family="
UNUSED = "a head over the vocabulary, which the class in architectures does not have"


def from_config(hf: ForeignConfig) -> HeadedConfig:
    family = trunk_of(hf.raw)
    if family is None:
        raise CheckpointError(hf.file, "model_type", f"{clean(repr(hf.raw.get('model_type')))} is of no decoder")
    inner = replace(hf, raw=without_class(hf.raw))  # what it reads is written down in both
    trunk = family.dialect("hf").from_config(inner)
    hf.lacks_dtype, hf.code, hf.classes = inner.lacks_dtype, inner.code, inner.classes
    head = head_of(hf)
    tokens = {name: getattr(trunk, name) for name in ("dtype", "bos_token_id", "eos_token_id", "pad_token_id")}
    if head == "none":
        name = "".join(hf.raw.get("architectures") or ())
        told = f"architectures={clean(repr(name))} has no head, and so the model has none"
        hf.told["architectures"] = f"{told}: {READ_BY}{family.name}"
        return HeadedConfig(trunk=trunk, **tokens)
    has_bias = head == "token_classification" and hf.as_type(bool, hf.raw.get(BIAS, True), BIAS)
    hf.ignore(BIAS, "classifier_dropout")
    return HeadedConfig(trunk=trunk, head=head, has_bias=has_bias, **read_labels(hf, HeadedConfig), **tokens)


def to_config(c: HeadedConfig) -> dict[str, Any]:
    out = _dialect(c).to_config(c.trunk)
    suffix = next(suffix for suffix, head in SUFFIXES.items() if head == c.head)
    out["architectures"] = [f"{CAUSAL.sub('', name)}{suffix}" for name in out["architectures"]]
    bias = {BIAS: False} if c.head == "token_classification" and not c.has_bias else {}
    return {**out, **bias, **write_labels(c.num_labels, c.labels)}


def mapping(c: HeadedConfig, tensors: Mapping[str, TensorInfo] | None = None) -> Table:
    inner = _dialect(c).table(c.trunk, tensors)
    prefix = _prefix(inner)
    is_bare = c.head == "none"
    entries = [entry for entry in (*inner.rules, *inner.ignored, *inner.aliases) if not _is_of_head(entry)]
    scores = SCORES if c.head == "sequence_classification" or prefix == "model." else SCORES[::-1]
    return Table(
        under(TRUNK, "", *(_without(prefix, entry) if is_bare else entry for entry in entries)),
        ignore("lm_head", UNUSED) if is_bare else [rename("classifier", name) for name in scores],
        spelling=partial(_spelt, inner.spelling, prefix if is_bare else ""),
    )


HEADED = Dialect(
    from_config=from_config, to_config=to_config, mapping=mapping, mapping_of=mapping, matches=matches
)  # fmt: skip


def _dialect(c: HeadedConfig) -> Dialect[Any]:
    return installed()[c.trunk.family].dialect("hf")


def _prefix(table: Table) -> str:
    """What stands before the names of a decoder that is a child of its language model."""
    for entry in table.rules:
        if (binding := entry.bind("embed.weight")) is not None:
            return entry.their_names(binding)[0].partition(".")[0] + "."
    return ""


def _is_of_head(entry: Entry) -> bool:
    return isinstance(entry, Rule) and all(map(is_of_head, entry.ours))


def _without(prefix: str, entry: Entry) -> Entry:
    """An entry of the table as a bare model's files name its tensors."""
    if isinstance(entry, Rule):
        return replace(entry, theirs=tuple(name.removeprefix(prefix) for name in entry.theirs))
    short = replace(entry, theirs=entry.theirs.removeprefix(prefix))
    return replace(short, of=short.of.removeprefix(prefix)) if isinstance(short, Alias) else short


def _spelt(inner: Callable[[str], str] | None, prefix: str, name: str) -> str:
    return (inner(name) if inner else name).removeprefix(prefix)
