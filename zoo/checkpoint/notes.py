"""What is told of a checkpoint that is read without error: what was assumed, what is odd about it. Needs no torch."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from zoo.errors import ZooWarning, clean, some
from zoo.files.checkpoint import Checkpoint
from zoo.weights.foreign.age import is_written
from zoo.weights.foreign.config import ForeignConfig

if TYPE_CHECKING:
    from zoo.anatomy.config import ModelConfig
    from zoo.checkpoint.inspection import Ledger

OF_PICTURES = ("image", "video", "vision", "audio")
PACKED = "packed weights: "
MOST = 12  # keys that one sentence names


def tell(ledger: Ledger) -> None:
    """Warn with a ZooWarning of each note. Commands print them as a line that starts with `note:`."""
    for note in ledger.notes:
        warnings.warn(f"{clean(ledger.source, 200)}: {note}", ZooWarning, stacklevel=3)


def assumed_in(keys: ForeignConfig) -> dict[str, Any]:
    """Absent keys and the values taken in their place, those of groups as GROUP.KEY; nothing is not told.

    Nor is what a group of transformers' own files lacks: it writes there only what its class would not take anyway.
    """
    found = {name: value for name, value in keys.assumed.items() if value is not None and value not in ([], (), {})}
    for group in [] if is_written(keys) else keys.groups:
        found |= {f"{group.name}.{name}": value for name, value in assumed_in(group).items()}
    return found


def notes_of(config: ModelConfig, keys: ForeignConfig, checkpoint: Checkpoint) -> list[str]:
    """A sentence for all assumptions, and one for anything else that is odd."""
    assumed = [f"{name}={clean(repr(value))}" for name, value in assumed_in(keys).items()]
    notes = [f"{checkpoint.config_name} does not say everything. Assumed: {some(assumed, MOST)}"] if assumed else []
    notes += keys.told.values()
    if outside := list(ids_outside(config)):
        notes.append(f"not in the vocabulary: {some(outside, MOST)}")
    return [*notes, *checkpoint.notes, *_packed(checkpoint)]


def _packed(checkpoint: Checkpoint) -> list[str]:
    """What packed weights are: they are shown as the numbers that they stand for."""
    if checkpoint.packing is None:
        return []
    return [PACKED + checkpoint.packing.in_words(checkpoint.tensors), *checkpoint.packing.told()]


def ids_outside(config: ModelConfig) -> Iterator[str]:
    """Fields that name a token of texts which the embedding has no row for; those of pictures need none."""
    size = getattr(config, "vocab_size", None) or getattr(getattr(config, "text", None), "vocab_size", None)
    if not isinstance(size, int):
        return
    for f in fields(config):
        value = getattr(config, f.name)
        if f.name.endswith("_token_id") and f.name.partition("_")[0] not in OF_PICTURES:
            ids = value if isinstance(value, list) else [value]
            if bad := [i for i in ids if isinstance(i, int) and not 0 <= i < size]:
                yield f"{f.name}={bad[0]} of {size}"
