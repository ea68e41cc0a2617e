"""Classes of a classifier as Hugging Face's configs number and name them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo.errors import CheckpointError, clean
from zoo.weights.foreign.config import ForeignConfig, key


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
