"""The fields of a config by their dotted names: type, and the comment that documents each in the source."""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints


@dataclass(frozen=True)
class Field:
    """One field: `path` is dotted from the config's root, `kind` its type without `None`, `doc` its comment."""

    path: str
    kind: Any
    doc: str


@cache
def fields_of(config_class: type, prefix: str = "") -> dict[str, Field]:
    """Every field of a config class and of the records in it, by dotted name: `hidden_size`, `rope`, `rope.theta`."""
    return {field.path: field for field in _walk(config_class, prefix)}


@cache
def types_of(record: type) -> Mapping[str, Any]:
    """The type of each field. Once for each class: annotations are texts, and each look at them compiles them all."""
    return types.MappingProxyType(get_type_hints(record))


def doc_of(config_class: type, name: str) -> str:
    """The trailing comment of a field in the source of the class that declares it; empty where it has none."""
    for owner in config_class.__mro__:
        if name in vars(owner).get("__annotations__", {}):
            return _comments(owner).get(name, "")
    return ""


@cache
def _comments(owner: type) -> dict[str, str]:
    try:
        source = inspect.getsource(owner)
    except (OSError, TypeError):  # a class made at run time has no source
        return {}
    return dict(re.findall(r"^ +(\w+) *:[^#\n]*# *(.*?) *$", source, re.MULTILINE))


def _walk(config_class: type, prefix: str) -> Iterator[Field]:
    hints = types_of(config_class)
    for field in fields(config_class):
        kind = _without_none(hints[field.name])
        path = prefix + field.name
        yield Field(path, kind, doc_of(config_class, field.name))
        if isinstance(kind, type) and is_dataclass(kind):
            yield from fields_of(kind, f"{path}.").values()


def _without_none(kind: Any) -> Any:
    if get_origin(kind) in (Union, types.UnionType):
        rest = [a for a in get_args(kind) if a is not type(None)]
        return rest[0] if len(rest) == 1 else kind
    return kind
