"""A config with one field changed: whoever forgets a field is found out by a value that is not the default."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

from zoo.anatomy.config import MISSING, ModelConfig
from zoo.anatomy.differing import BOOKKEEPING
from zoo.anatomy.fields import doc_of, types_of
from zoo.errors import ConfigError

ROPE_SCALINGS: tuple[dict[str, Any], ...] = (  # settings that belong together
    {"scaling": "linear", "factor": 4.0},
    {"scaling": "llama3", "factor": 8.0, "low_freq_factor": 1.5, "high_freq_factor": 5.0, "original_max_seq_len": 32},
    {"scaling": "yarn", "factor": 4.0, "beta_fast": 20.0, "beta_slow": 2.0, "original_max_seq_len": 32},
    {"scaling": "yarn", "factor": 4.0, "truncate": False, "mscale": 0.7, "mscale_all_dim": 0.9},
)


def variants(config: ModelConfig) -> Iterator[tuple[str, ModelConfig]]:
    """(`field=value`, the config with it) for every field that can be changed on its own."""
    for field in fields(config):
        if field.name not in BOOKKEEPING:
            yield from _changed(config, field.name)


def flags(config: ModelConfig) -> Iterator[tuple[str, ModelConfig]]:
    """The variants in which a boolean is turned over: those that add or remove weights."""
    for name, changed in variants(config):
        if name.endswith(("=True", "=False")):
            yield name, changed


def _changed(config: ModelConfig, name: str) -> Iterator[tuple[str, ModelConfig]]:
    old = getattr(config, name)
    if is_dataclass(old) and not isinstance(old, type):
        for label, value in _changed_records(old):
            if (made := _replaced(config, name, value)) is not None:
                yield f"{name}.{label}", made
        return
    kind = str(types_of(type(config))[name])
    for value in _others(old, kind, doc_of(type(config), name)):
        if (made := _replaced(config, name, value)) is not None:
            yield f"{name}={value!r}", made
            if not isinstance(old, str):
                return  # one other number will do; of words each has its own line of code


def _changed_records(old: Any) -> Iterator[tuple[str, Any]]:
    if hasattr(old, "scaling"):
        yield "theta", replace(old, theta=old.theta * 3)
        yield "partial", replace(old, partial=old.partial / 2)
        for settings in ROPE_SCALINGS:
            yield f"scaling={settings['scaling']}", replace(old, **settings)
    elif isinstance(old, ModelConfig):
        yield from variants(old)


def words_in(doc: str) -> list[str]:
    """The words that a field's comment lists: `gelu | gelu_tanh | relu`."""
    return [word for group in re.findall(r"\w+(?: \| \w+)+", doc) for word in group.split(" | ")]


def _others(old: Any, kind: str, doc: str) -> Iterator[Any]:
    """Values that the field may take instead, the likeliest first."""
    if isinstance(old, bool):
        yield not old
    elif isinstance(old, int) and old != MISSING:
        yield from (old + 1, old * 2, old * 3, max(old // 2, 1), old - 1)
    elif isinstance(old, float):
        yield from (old * 1.5, 0.25, 0.5)
    elif isinstance(old, str):
        yield from (word for word in words_in(doc) if word != old)
    elif isinstance(old, list):
        yield from ([*old, 3], [*old, "x"], old[:-1])
    elif old is None:
        yield from _instead_of_none(kind)


def _instead_of_none(kind: str) -> Iterator[Any]:
    if "list[int]" in kind:
        yield [0]
    elif "float" in kind:
        yield 7.5
    elif "int" in kind:
        yield 3


def _replaced(config: ModelConfig, name: str, value: Any) -> ModelConfig | None:
    """The config with the field changed, if its other fields allow it."""
    try:
        made = type(config).from_dict(replace(config, **{name: value}).to_dict())
    except ConfigError:
        return None
    return None if made == config else made
