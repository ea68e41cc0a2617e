"""Configs that were changed by hand in Python: names that are no fields, and fields after the model was built."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from zoo.anatomy.config import ModelConfig
from zoo.errors import ConfigError, UsageError, did_you_mean, some

TOLD = frozenset(field.name for field in fields(ModelConfig)) - {"family"}  # of these no number of a model depends


def refuse_strays(part: Any, path: str = "model") -> None:
    """Raise ConfigError for an attribute that is no field: nothing reads it, so a misspelt one would change nothing."""
    names = [field.name for field in fields(part)]
    strays = {name for name in getattr(part, "__dict__", ()) if _is_stray(name, names, type(part))}  # slots: none
    for name in sorted(strays and strays - vars(replace(part)).keys()):  # what a class computes as it begins is its own
        what = f"{path}.{name} is not a field of {type(part).__name__}, and nothing reads it"
        raise ConfigError(what, why=did_you_mean(name, names))
    for name in names:
        if is_dataclass(value := getattr(part, name)):
            refuse_strays(value, f"{path}.{name}")


def _is_stray(name: str, fields: list[str], kind: type) -> bool:
    return name not in fields and not name.startswith("_") and not hasattr(kind, name)


def refuse_edited(config: ModelConfig, built_from: Mapping[str, Any] | None) -> None:
    """Raise UsageError where a model's config is not the one it was built from, but for its source and tokens."""
    changes = [] if built_from is None else [*_changes(config.to_dict(), built_from, "model")]
    if changes:
        path, now, before = changes[0]
        what = f"model.config says {path}={now!r}, and the model was built with {before!r}"
        more = f"changed too: {some([path for path, *_ in changes[1:]])}" if changes[1:] else ""
        hint = f"build it so, zoo.build(NAME, '{path}={now}', device='cpu'), and give it the weights: load_state_dict"
        raise UsageError(what, why=more, hint=hint)


def _changes(now: Mapping[str, Any], before: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any, Any]]:
    for name, value in now.items():
        old, place = before.get(name), f"{path}.{name}"
        if place.removeprefix("model.") in TOLD or value == old:
            continue
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            yield from _changes(value, old, place)
        else:
            yield place, value, old
