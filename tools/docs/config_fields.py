"""The fields of a config as a table: what they are called, their type, default and meaning."""

from __future__ import annotations

from dataclasses import MISSING as NO_DEFAULT
from dataclasses import Field, fields, is_dataclass
from typing import Any, get_args, get_origin

from zoo.anatomy.config import MISSING
from zoo.anatomy.fields import fields_of
from zoo.registry import installed

from .words import WORDS, table


def page() -> str:
    """The reference of all fields of all families, in English."""
    parts = [
        "# Config fields\n\nA field has the same path in Python, YAML, on the command line and in messages: "
        "`model.rope.factor`. A family's page lists these too.\n"
    ]
    for name, family in sorted(installed().families.items()):
        if installed().origin[name].distribution == "zoo-lm":
            parts.append(f"## {name}\n\n{fields_table(family.config_class, 'en')}")
    return "\n".join(parts)


def fields_table(config_class: type, language: str) -> str:
    """Every field of `config_class` and of the records in it."""
    words = WORDS[language]
    defaults = dict(_defaults(config_class))
    rows = [
        [f"`{path}`", kind_in_words(f.kind), _shown(defaults[path], words["required"]), f.doc]
        for path, f in fields_of(config_class).items()
    ]
    return table([words["field"], words["type"], words["default"], words["meaning"]], rows)


def undocumented(config_class: type) -> list[str]:
    """The fields without a comment that says what they mean."""
    return [path for path, field in fields_of(config_class).items() if not field.doc and path != "family"]


def kind_in_words(kind: Any) -> str:
    """int, list of float, RopeConfig, ..."""
    if get_origin(kind) in (list, dict):
        return f"{get_origin(kind).__name__} of {kind_in_words(get_args(kind)[-1])}"
    return getattr(kind, "__name__", str(kind))


def _defaults(config_class: Any, prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for field in fields(config_class):
        value = _default(field)
        found.append((prefix + field.name, value))
        if is_dataclass(value) and not isinstance(value, type):
            found += [(f"{prefix}{field.name}.{path}", inner) for path, inner in _flat(value)]
    # A record that a preset must supply, or that may be absent, has the defaults of its class.
    known = {path for path, _ in found}
    for path in fields_of(config_class):
        if prefix + path not in known:
            found.append((prefix + path, _of_class(config_class, path)))
    return found


def _flat(record: Any) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for field in fields(record):
        value = getattr(record, field.name)
        found.append((field.name, value))
        if is_dataclass(value) and not isinstance(value, type):
            found += [(f"{field.name}.{path}", inner) for path, inner in _flat(value)]
    return found


def _of_class(config_class: Any, path: str) -> Any:
    *above, name = path.split(".")
    owner = fields_of(config_class)[".".join(above)].kind
    return next(_default(field) for field in fields(owner) if field.name == name)


def _default(field: Field[Any]) -> Any:
    if field.default is not NO_DEFAULT:
        return field.default
    if field.default_factory is not NO_DEFAULT:
        try:
            return field.default_factory()
        except Exception:  # a record whose own fields a preset must supply does not always stand alone
            return MISSING
    return MISSING


def _shown(value: Any, required: str) -> str:
    if value == MISSING:
        return f"*{required}*"
    if is_dataclass(value):
        return "…"
    return (
        ""
        if value in ("", [])
        else f"`{'null' if value is None else str(value).lower() if isinstance(value, bool) else value}`"
    )
