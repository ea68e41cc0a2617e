"""Which classes of transformers put another head on a decoder, and what a claim on them rests on.

LlamaForSequenceClassification, Qwen2ForTokenClassification and a bare MistralModel are known by the classes that the
families name for their language models: LlamaForCausalLM, Qwen2ForCausalLM, MistralForCausalLM.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from zoo.anatomy import ModelConfig
from zoo.errors import CheckpointError, ZooError, clean
from zoo.registry import Family, installed
from zoo.weights import ForeignConfig, Match

SUFFIXES = {
    "ForSequenceClassification": "sequence_classification",
    "ForTokenClassification": "token_classification",
    "Model": "none",
}
CAUSAL = re.compile(r"(?:ForCausalLM|LMHeadModel)$")


def matches(raw: Mapping[str, Any]) -> Match | None:
    """A claim on what a family of decoders would claim by its type, where the class is one of its with another head."""
    named = raw.get("architectures")
    if not (isinstance(named, list) and len(named) == 1 and isinstance(named[0], str)):
        return None
    head = next((head for suffix, head in SUFFIXES.items() if named[0].endswith(suffix)), None)
    family = None if head is None else trunk_of(raw)
    if family is None or family.config_class.anatomy is ModelConfig.anatomy:
        return None
    keys = ForeignConfig(without_class(raw))
    with suppress(ZooError):  # what it refuses is said when the checkpoint is read
        family.dialect("hf").from_config(keys)
    if named[0] in keys.classes or named[0] not in classes_beside(keys.classes):
        return None
    return Match(1.0, (f"{named[0]} is a {family.name} with another head",), instead=family.name)


def trunk_of(raw: Mapping[str, Any]) -> Family | None:
    """The family that the rest of a config is of."""
    found = installed().detect(without_class(raw))
    return found[0][0] if found and "hf" in found[0][0].formats else None


def head_of(hf: ForeignConfig) -> str:
    """Our head by the class that `architectures` names; none for the class of the family's own language model."""
    named = hf.get("architectures")
    known = classes_beside(hf.classes)
    if named is None or (isinstance(named, list) and len(named) == 1 and named[0] in (*hf.classes, *known)):
        return known.get(named[0], "none") if named else "none"
    what = f"{clean(repr(named))} is not supported, only one of {', '.join(map(repr, known))} is"
    raise CheckpointError(hf.file, "architectures", what, why="another class may have a different head or computation")


def classes_beside(own: tuple[str, ...]) -> dict[str, str]:
    """The classes that put another head on the decoders whose language models have these classes, and the head."""
    stems = [CAUSAL.sub("", name) for name in own if CAUSAL.search(name)]
    return {f"{stem}{suffix}": head for stem in stems for suffix, head in SUFFIXES.items()}


def without_class(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The config of the decoder by itself: without the class, and without what is said of classes."""
    return {name: value for name, value in raw.items() if name != "architectures"}
