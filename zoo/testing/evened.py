"""A config whose heads and widths can be shared: tiny ones are odd on purpose."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

from zoo.anatomy.config import ModelConfig
from zoo.anatomy.cuts import EXPERTS
from zoo.errors import ConfigError, UsageError
from zoo.models.construction import on_meta
from zoo.parallel.shares import Need
from zoo.registry import installed
from zoo.testing.check import Skipped

EVEN = (
    "num_heads",
    "num_kv_heads",
    "num_experts",
    "intermediate_size",
    "moe_intermediate_size",
    "shared_intermediate_size",
)


def evened(config: ModelConfig, ranks: int) -> ModelConfig:
    """The config, or the nearest of it that so many ranks can share. Raises Skipped where none is found."""
    from zoo.parallel.declared import needs_of
    from zoo.parallel.shares import TENSOR

    for candidate in (config, *_candidates(config, ranks)):
        needs: list[Need] = needs_of(on_meta(candidate), (*TENSOR, EXPERTS))
        if all(need.fits(ranks) for need in needs) and _is_stored(candidate):
            return candidate
    raise Skipped(f"no config near the tiny one can be cut into {ranks}")


def _is_stored(config: ModelConfig) -> bool:
    """Whether the family's own format, if it writes one, can store it."""
    family = installed()[config.family]
    if "hf" not in family.formats or not family.dialect("hf").is_written:
        return True
    try:
        family.dialect("hf").to_config(config)
    except UsageError:
        return False
    return True


def _candidates(config: ModelConfig, ranks: int) -> Iterator[ModelConfig]:
    for names, always in ((EVEN, ()), (EVEN, ("hidden_size",)), ((), (*EVEN, "hidden_size"))):
        try:
            yield _multiplied(config, ranks, names, always)
        except (ConfigError, UsageError):
            continue


def _multiplied(record: Any, ranks: int, names: tuple[str, ...], always: tuple[str, ...]) -> Any:
    """The record with what is in `names` and odd, and what is in `always`, so many times as large."""
    changes: dict[str, Any] = {}
    for field in fields(record):
        value = getattr(record, field.name)
        if is_dataclass(value) and not isinstance(value, type):
            changes[field.name] = _multiplied(value, ranks, names, always)
        elif isinstance(value, int) and (field.name in always or (field.name in names and value % ranks)):
            changes[field.name] = value * ranks
    return replace(record, **changes)
