"""One preset of each kind: presets that differ in sizes alone are built of the same parts."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

from zoo.presets import config
from zoo.registry import installed

ENCODERS = {  # of texts
    "albert", "bert", "deberta", "distilbert", "electra", "modernbert", "mpnet", "roberta", "xlm_roberta",
}  # fmt: skip
TOWERS = {"clip", "dinov2", "siglip", "siglip2", "vit"}  # of pictures, or beside one
TOLD = ("dtype", "license", "source", "labels", "hub")  # of no part


def kinds() -> list[str]:
    """Names of presets, the first of each kind. Read without Hydra, which takes 20 s for all of them."""
    found: dict[Any, str] = {}
    for name in sorted(installed().presets()):
        found.setdefault(kind_of(config(name)), name)
    return sorted(found.values())


def kind_of(part: Any) -> tuple[Any, ...]:
    """What a config is made of: its switches and words, which lists and numbers it has, and not how large they are."""
    told: list[Any] = [type(part).__name__]
    for field in fields(part):
        value = getattr(part, field.name)
        if is_dataclass(value):
            told.append(kind_of(value))
        elif field.name not in TOLD:
            told.append(value if isinstance(value, bool | str) or value is None else bool(value))
    return tuple(told)
