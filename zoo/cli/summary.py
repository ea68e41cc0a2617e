"""A built model in numbers and words: its tree, its costs, and how it differs from its preset. Needs no torch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from math import prod
from typing import Any, Protocol

from zoo.anatomy.config import ModelConfig
from zoo.anatomy.costs import cache_in_words, compute_in_words, costs
from zoo.anatomy.size import Size, item_bytes
from zoo.errors import ZooError
from zoo.units import human_bytes, human_count

DTYPES = {"float32": "fp32", "bfloat16": "bf16", "int8": "int8"}


class Shaped(Protocol):
    """A parameter, as far as its shape goes."""

    @property
    def shape(self) -> Sequence[int]: ...


def numbers(config: ModelConfig) -> dict[str, Any]:
    """What a config's model costs, from zoo.anatomy.costs; no size where the family has no arithmetic for it."""
    known: dict[str, Any] = {"family": config.family, "num_layers": getattr(config, "num_layers", None)}
    try:
        return known | {"size": costs(Size.of(config), None)}
    except ZooError:
        return known | {"size": None}


def tree(parameters: Iterable[tuple[str, Shaped]]) -> list[dict[str, Any]]:
    """The module's parts in order; layers that hold the same shapes are one, named `layers.{0..31}`."""
    parts: dict[tuple[str, int | None], list[tuple[str, tuple[int, ...]]]] = {}
    for name, parameter in parameters:
        stack = re.match(r"(.*?)\.(\d+)\.(.*)", name)
        key = (stack[1], int(stack[2])) if stack else (name.rpartition(".")[0] or name, None)
        parts.setdefault(key, []).append((stack[3] if stack else name, tuple(parameter.shape)))
    alike: dict[tuple[Any, ...], list[int | None]] = {}
    for (name, layer), content in parts.items():
        alike.setdefault((name, layer is None, tuple(content)), []).append(layer)
    return [_part(name, content, layers) for (name, _, content), layers in alike.items()]


def changes(before: ModelConfig, after: ModelConfig) -> dict[str, list[Any]]:
    """Every field that two configs disagree on, by its dotted name: [before, after]."""
    old, new = _flat(before.to_dict(), "model"), _flat(after.to_dict(), "model")
    return {key: [old.get(key), new.get(key)] for key in {**old, **new} if old.get(key) != new.get(key)}


def lines(facts: dict[str, Any], *, is_table: bool) -> list[str]:
    """The facts of one build in words: aligned for people, tab-separated for pipes."""
    rows = [(part["name"], part["shape"] or "", _count(part)) for part in facts["tree"]]
    if is_table:
        first, second = (max(len(str(row[i])) for row in rows) for i in (0, 1)) if rows else (0, 0)
        shown = [f"  {name:{first}}  {shape!s:{second}}  {count}" for name, shape, count in rows]
        shown += [f"{name:11} {text}" for name, text in _costs(facts)]
    else:
        shown = ["\t".join(map(str, row)) for row in rows] + [f"{name}\t{text}" for name, text in _costs(facts)]
    return [_title(facts), *shown, *_endings(facts)]


def _title(facts: dict[str, Any]) -> str:
    layers = (
        f" · {facts['num_layers']} layer{'s' * (facts['num_layers'] != 1)}" if facts["num_layers"] is not None else ""
    )
    active = facts["size"]["active_parameters"] if facts["size"] else facts["parameters"]
    told = f" ({human_count(active)} active)" if active < facts["parameters"] else ""
    count = human_count(facts["parameters"])
    return f"{facts['family']}{layers} · {count} parameters{told} · {facts['device']} · {facts['seconds']:.2f} s"


def _costs(facts: dict[str, Any]) -> list[tuple[str, str]]:
    if (size := facts["size"]) is None:
        return []
    roles = [f"{role} {human_count(n)}" for role, n in size["by_role"].items()]
    weights = [f"{human_bytes(size['parameters'] * item_bytes(dtype))} {word}" for dtype, word in DTYPES.items()]
    told = [("parameters", " · ".join(roles)), ("weights", " · ".join(weights))]
    if cache := cache_in_words(size):
        told.append(("cache", f"{cache} ({size['dtype']})"))
    if size["state_bytes"]:
        told.append(("state", f"{human_bytes(size['state_bytes'])} at any length ({size['dtype']})"))
    return [*told, ("compute", compute_in_words(size))]


def _endings(facts: dict[str, Any]) -> list[str]:
    changed = [f"{key} {_shown(old)} → {_shown(new)}" for key, (old, new) in facts.get("changed", {}).items()]
    told = [f"changed from the preset: {', '.join(changed)}"] if changed else []
    if saved := facts["saved"]:
        told.append(f"saved to {saved['folder']} as {saved['format']}: random weights, seed {facts['seed']}")
    return told


def _part(name: str, content: Sequence[tuple[str, tuple[int, ...]]], layers: Sequence[int | None]) -> dict[str, Any]:
    each = sum(prod(shape) for _, shape in content)
    shape = list(content[0][1]) if len(content) == 1 and layers[0] is None else None
    numbered = [layer for layer in layers if layer is not None]
    shown = f"{name}.{_numbers(numbered)}" if numbered else name
    return {"name": shown, "shape": shape, "each": each, "parameters": each * len(layers)}


def _numbers(layers: Sequence[int]) -> str:
    """7, {0..31} or {0,2,..,30}."""
    if len(layers) == 1:
        return str(layers[0])
    if len(layers) == layers[-1] - layers[0] + 1:
        return f"{{{layers[0]}..{layers[-1]}}}"
    shown = (
        [str(layer) for layer in layers] if len(layers) < 4 else [str(layers[0]), str(layers[1]), "..", str(layers[-1])]
    )
    return f"{{{','.join(shown)}}}"


def _count(part: dict[str, Any]) -> str:
    is_one = part["each"] == part["parameters"]
    return human_count(part["each"]) + ("" if is_one else " each")


def _flat(values: dict[str, Any], prefix: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        path = f"{prefix}.{key}"
        found |= _flat(value, path) if isinstance(value, dict) else {path: value}
    return found


def _shown(value: Any) -> str:
    return "null" if value is None else str(value)
