"""In what two configs differ. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from zoo.anatomy.config import ModelConfig

BOOKKEEPING = frozenset(
    ("family", "hub", "gated", "stored_gib", "license", "source")
)  # fields that say nothing of the model
TOKENS = frozenset(("dtype", "bos_token_id", "eos_token_id", "pad_token_id"))


def differences(found: ModelConfig, expected: ModelConfig) -> list[str]:
    """`model.rope.theta: found A, expected B` for every field of the model that differs, those of its records too.

    A record that is None has None for each of its fields.
    """
    a, b = dict(_flat(found.to_dict())), dict(_flat(expected.to_dict()))
    return [
        f"model.{path}: found {a.get(path)!r}, expected {b.get(path)!r}"
        for path in {**b, **a}
        if path.partition(".")[0] not in BOOKKEEPING and a.get(path) != b.get(path)
    ]


def _flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value
