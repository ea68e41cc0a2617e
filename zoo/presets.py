"""The models that can be built by name. Needs neither torch nor Hydra."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from zoo.config import ModelConfig
from zoo.errors import ConfigError, ZooError, clean
from zoo.registry import Preset, installed


@dataclass(frozen=True)
class ModelRecord:
    """One preset at a glance; numbers are None and words empty where the family does not tell without torch."""

    name: str
    family: str = ""
    description: str = ""  # the comment on the preset's first line
    parameters: int | None = None
    num_layers: int | None = None
    attention: str = ""  # MHA 32, GQA 32/8, ...
    position: str = ""  # RoPE 500k, learned, ...
    max_seq_len: int | None = None  # tokens of context
    hub: str = ""  # where the released weights live
    gated: bool = False  # the hub asks for consent first
    plugin: str = ""  # distribution that ships the preset
    problem: str = ""  # why the preset cannot be used; empty: it can


def list_models(pattern: str | None = None, *, family: str | None = None) -> list[ModelRecord]:
    """Every model whose name matches a shell pattern such as "*llama*" (or contains it, where it has no wildcard).

    Presets of plugins that are blocked or broken are left out; `zoo plugins` tells why. Raises UnknownName for a
    family that is not there.
    """
    registry = installed()
    if family is not None:
        registry[family]
    presets = registry.presets()
    found = (record(preset, presets) for name, preset in presets.items() if matches(name, pattern))
    absent = {plugin.name for plugin in registry.plugins if plugin.reason}
    return [r for r in found if r.family not in absent and family in (None, r.family)]


def config(name: str) -> ModelConfig:
    """The config of a preset as it stands. Raises UnknownName, ConfigError or, for a file that is no preset, ZooError."""
    from zoo.preset_file import resolve

    return _typed(resolve(name, installed().presets()))


def record(preset: Preset, presets: Mapping[str, Preset]) -> ModelRecord:
    """What a preset describes, or the problem with it."""
    from zoo.preset_file import resolve

    known = {"name": preset.name, "plugin": preset.plugin}
    # A third party's preset and config class: whatever is wrong with them must not take the other models with it.
    try:
        known["description"] = clean(preset.description, 200)
        values = resolve(preset.name, presets)
        known["family"] = clean(values.get("family", ""))
        return ModelRecord(**known, **_traits(_typed(values)))
    except Exception as error:
        reason = error.what if isinstance(error, ZooError) else f"{type(error).__name__}: {error}"
        return ModelRecord(**known, problem=clean(reason, 200))


def _typed(values: dict[str, Any]) -> ModelConfig:
    if "family" not in values:
        raise ConfigError("the preset names no family", hint="begin its defaults with /schema/FAMILY@_here_")
    return installed()[values["family"]].config_class.from_dict(values)


def _traits(c: ModelConfig) -> dict[str, Any]:
    """What a config tells of its model without torch."""
    told = {"hub": c.hub, "gated": c.gated, "num_layers": getattr(c, "num_layers", None)}
    try:
        anatomy = c.anatomy()
    except NotImplementedError:  # known by building it only, which needs torch
        return told | {"max_seq_len": getattr(c, "max_seq_len", None)}
    return told | {
        "parameters": sum(weight.numel for weight in anatomy.weights),
        "attention": anatomy.traits.get("attention", ""),
        "position": anatomy.traits.get("position", ""),
        "max_seq_len": anatomy.max_seq_len,
    }


def matches(name: str, pattern: str | None) -> bool:
    """Whether a name matches a shell pattern, or contains it where it has no wildcard; case does not matter."""
    if not pattern:
        return True
    has_wildcard = any(c in pattern for c in "*?[")
    return fnmatchcase(name.lower(), pattern.lower() if has_wildcard else f"*{pattern.lower()}*")
