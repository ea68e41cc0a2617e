"""One preset of each kind: presets that differ in sizes alone are built of the same parts."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

from zoo.presets.composition import compose
from zoo.registry import installed

TOLD = ("dtype", "license", "source", "labels", "hub")  # of no part


def kinds() -> list[str]:
    """Names of presets, the first of each kind."""
    found: dict[Any, str] = {}
    for name in sorted(installed().presets()):
        found.setdefault(kind_of(compose(name)), name)
    return sorted(found.values())


def kind_of(config: Any) -> tuple[Any, ...]:
    """What a config is made of: its switches and words, which lists and numbers it has, and not how large they are."""
    told: list[Any] = [type(config).__name__]
    for field in fields(config):
        value = getattr(config, field.name)
        if is_dataclass(value):
            told.append(kind_of(value))
        elif field.name not in TOLD:
            told.append(value if isinstance(value, bool | str) or value is None else bool(value))
    return tuple(told)
