"""What llama.cpp's files say of each layer: a list where layers differ, and one value where they do not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo.errors import CheckpointError
from zoo.weights.foreign.config import ForeignConfig

__all__ = ["layers_where", "of_each", "one_for_all", "shortest"]


def of_each(hf: ForeignConfig, name: str, kind: type[Any], count: int, *default: Any) -> list[Any]:
    """The values of `count` layers under a key: a list of them, or one for all.

    Raises CheckpointError for a key that is missing where there is no `default`, and for a list of another length.
    """
    found = hf.get(name, *default) if default else hf[name]
    values = hf.as_type(list[kind], found if isinstance(found, list) else [found] * count, name)  # type: ignore[valid-type]
    if len(values) != count:
        raise CheckpointError(hf.file, name, f"has {len(values):,} values, the model has {count:,} layers")
    return list(values)


def one_for_all(hf: ForeignConfig, name: str, count: int) -> None:
    """Let a list with the same value for each of `count` layers stand for that value. Raises CheckpointError else."""
    values = of_each(hf, name, int, count)
    if len(set(values)) != 1:
        raise CheckpointError(hf.file, name, "has other values for other layers, of which zoo has one for all")
    hf.raw = {**hf.raw, name: values[0]}


def layers_where(hf: ForeignConfig, name: str, count: int) -> list[int]:
    """The numbers of the layers of which a list of truths under a key says true. Raises CheckpointError as above."""
    found = hf.as_type(list[bool], hf[name], name)
    if len(found) != count:
        raise CheckpointError(hf.file, name, f"has {len(found):,} values, the model has {count:,} layers")
    return [i for i, holds in enumerate(found) if holds]


def shortest(values: Sequence[Any]) -> Any:
    """One value where all are the same, else the list."""
    return values[0] if len(set(values)) == 1 else list(values)
