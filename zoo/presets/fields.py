"""Holds what a stranger's preset says against the fields of its family: each a field, each value of its type."""

from __future__ import annotations

import re
import types
from collections.abc import Mapping
from dataclasses import MISSING as NO_DEFAULT
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

from zoo.anatomy.config import MISSING, ModelConfig, typed
from zoo.anatomy.fields import types_of
from zoo.errors import ConfigError, UsageError, ZooError, clean
from zoo.presets.mistakes import suggest

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

REPO = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")  # as the hub names its repositories


MAX_LIST = 1_000  # values; Hydra copies each of them a hundred times
LIMITS = (  # by the field's name: several times what any released model has, and little enough to be counted and built
    (re.compile(r".*layers"), 500),
    (re.compile(r"num_.*|.*_per_.*|.*_(dim|rank)|(image|window)_size"), 1 << 16),
    (re.compile(r"(.*_)?(patch|merge)_size"), 1 << 10),
    (re.compile(r".*_size"), 1 << 22),
    (re.compile(r".*"), 1 << 30),
)


def too_much(values: Mapping[str, Any], path: str = "") -> str:
    """What of a stranger's preset would make us count for ever; empty where nothing would."""
    for name, value in values.items():
        limit = next(limit for pattern, limit in LIMITS if pattern.fullmatch(name))
        if isinstance(value, int) and value > limit:
            return f"{clean(path + name)}={value}, more than {limit:,}"
        if isinstance(value, list) and len(value) > MAX_LIST:
            return f"{clean(path + name)} with more than {MAX_LIST:,} values"
        if isinstance(value, dict) and (inner := too_much(value, f"{path}{name}.")):
            return inner
    return ""


def hold(values: Mapping[str, Any], kind: type[ModelConfig], file: Traversable) -> None:
    """Raise ZooError, which names the file, for a key that is no field of `kind` or a value of another type."""
    _record(values, kind, "model", file)
    hub = values.get("hub", "")
    if hub and not REPO.fullmatch(hub):
        raise ConfigError(f"{file}: model.hub={clean(hub)!r} is not a repository of the hub", why="expected: org/name")


def missing(kind: type, values: Mapping[str, Any], path: str = "model") -> list[str]:
    """The fields that have no value: neither one of `values` nor a default."""
    found = []
    for f in fields(kind):
        default = f.default if f.default_factory is NO_DEFAULT else None
        value = values.get(f.name, MISSING if default is NO_DEFAULT else default)
        if isinstance(value, str) and value == MISSING:
            found.append(f"{path}.{f.name}")
        elif isinstance(value, dict) and (part := _dataclass(types_of(kind)[f.name])):
            found += missing(part, value, f"{path}.{f.name}")
    return found


def _record(values: Mapping[str, Any], kind: type, path: str, file: Traversable) -> None:
    hints = types_of(kind)
    known = [f.name for f in fields(kind)]
    for key, value in values.items():
        if key not in known:
            raise UsageError(f"{file}: no key {clean(f'{path}.{key}')!r}", why=suggest(key, known, 1, f"{path}."))
        part = _dataclass(hints[key])
        if part and isinstance(value, dict):
            _record(value, part, f"{path}.{key}", file)
        elif not (part and value is None and _is_optional(hints[key])):
            _value(hints[key], value, f"{path}.{key}", file)


def _value(kind: Any, value: Any, path: str, file: Traversable) -> None:
    try:
        typed(kind, value, path)
    except ZooError as error:
        raise ConfigError(f"{file}: {clean(error.what, 200)}", why=error.why) from None


def _dataclass(kind: Any) -> type | None:
    """The record that a field holds, or may hold."""
    options = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    return next((k for k in options if isinstance(k, type) and is_dataclass(k)), None)


def _is_optional(kind: Any) -> bool:
    return type(None) in get_args(kind)
