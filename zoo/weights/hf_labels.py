"""Which head a model has, how its classes are called, and its activation, as Hugging Face's configs say it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zoo.anatomy.encoders import CLASSIFIERS, TextEncoderConfig
from zoo.errors import CheckpointError, clean, did_you_mean
from zoo.weights.foreign.config import ForeignConfig, key

ACTIVATIONS = {  # theirs -> ours, of encoders of texts
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}
SPELT = {ours: theirs for theirs, ours in reversed(ACTIVATIONS.items())}  # as it is written

ENDS = {  # of the names of classes, and the head that each says; the first has none
    "Model": "none",
    "ForMaskedLM": "masked_lm",
    "ForSequenceClassification": "sequence_classification",
    "ForTokenClassification": "token_classification",
    "ForQuestionAnswering": "question_answering",
    "ForMultipleChoice": "multiple_choice",
}


FINE_TUNED = (*CLASSIFIERS, "question_answering", "multiple_choice")  # heads without which a model has no use


def heads_of(stem: str) -> dict[str, str]:
    """The classes of an encoder with the heads that all have, and which head it is."""
    return {f"{stem}{end}": head for end, head in ENDS.items()}


def read_head(hf: ForeignConfig, heads: Mapping[str, str], *pretrained: str) -> str:
    """Our head by the one class that `architectures` names; any other is refused.

    Models that embed sentences keep the name of the class they were pretrained in, whose head, the tensors below
    `pretrained`, is not in their files: these hold the trunk alone, and so it is told.
    """
    named = hf.get("architectures", [next(iter(heads))])
    if not isinstance(named, list) or len(named) != 1 or named[0] not in [*heads]:
        why = did_you_mean(str(named), heads)
        raise CheckpointError(hf.file, "architectures", f"{clean(repr(named))} is not supported", why=why)
    head = heads[named[0]]
    is_lost = bool(pretrained and hf.tensors) and not any(p in name for name in hf.tensors for p in pretrained)
    if is_lost and head not in ("none", *FINE_TUNED):
        hf.told["architectures"] = f"{named[0]} has a head that is not in the files: this is the trunk alone"
        return "none"
    return head


def read_head_and_labels(hf: ForeignConfig, heads: Mapping[str, str], config: type[Any]) -> dict[str, Any]:
    """`head` of `config`, and its classes where it has some."""
    head = read_head(hf, heads)
    return {"head": head} | (read_labels(hf, config) if head in CLASSIFIERS else {})


def write_head_and_labels(c: TextEncoderConfig, heads: Mapping[str, str]) -> dict[str, Any]:
    """The same, backwards."""
    named = [theirs for theirs, ours in heads.items() if ours == c.head]
    return {"architectures": named, **write_labels(c.num_labels, c.labels)}


def read_labels(hf: ForeignConfig, config: type[Any]) -> dict[str, Any]:
    """`num_labels` and `labels` of `config`; transformers writes neither if there are two without a name."""
    names = hf.get("id2label", {})
    if not isinstance(names, dict) or set(names) != {str(i) for i in range(len(names))}:
        raise CheckpointError(hf.file, "id2label", f"{clean(repr(names))} does not number the classes from 0 on")
    values = hf.read(config, [key("num_labels", default=len(names) or 2)])
    if names and values["num_labels"] != len(names):
        raise CheckpointError(hf.file, "num_labels", f"{values['num_labels']} classes, but id2label has {len(names)}")
    labels = [str(names[str(i)]) for i in range(len(names))]
    return {**values, "labels": [] if labels == unnamed(len(labels)) else labels}


def write_labels(num_labels: int | None, labels: Sequence[str]) -> dict[str, Any]:
    """The same, backwards; nothing for a model without classes."""
    if num_labels is None:
        return {}
    names = list(labels) or unnamed(num_labels)
    return {
        "id2label": {str(i): name for i, name in enumerate(names)},
        "label2id": {name: i for i, name in enumerate(names)},
    }


def unnamed(number: int) -> list[str]:
    """What transformers calls classes that have no name."""
    return [f"LABEL_{i}" for i in range(number)]
