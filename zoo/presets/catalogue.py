"""The models that can be built by name. Needs neither torch nor Hydra, nor the anatomy while the index tells all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, fields
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any
from zlib import crc32

from zoo.errors import ConfigError, UsageError, ZooError, clean
from zoo.files.resources import files
from zoo.presets.order import order
from zoo.registry import DISTRIBUTION, OURS, Preset, Registry, installed
from zoo.registry.isolation import isolated

if TYPE_CHECKING:
    from zoo.anatomy.config import ModelConfig


INDEX = "index.json"  # what `zoo list` says of them, so that it need not work it out: see tools/index_presets.py


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

    Presets whose plugin is blocked or broken are left out; `zoo plugins` tells why. Raises UnknownName for a family
    that is not there. They are in the order in which people count: llama3-8b before llama3-70b.
    """
    registry = installed()
    if family is not None:
        registry[family]
    presets = registry.presets()
    strangers = {name for name, plugin in registry.origin.items() if plugin.distribution != DISTRIBUTION}
    indexed = {name: r for name, r in read_index(presets).items() if r.family not in strangers}
    records = (indexed.get(n) or record(p, presets) for n, p in presets.items() if matches(n, pattern))
    found = [r for r in records if family in (None, r.family) and not _is_absent(r, registry)]
    return sorted(found, key=lambda r: order(r.name, r.parameters))


def config(name: str) -> ModelConfig:
    """The config of a preset as it stands. Raises UnknownName, or ZooError for a file that is no preset."""
    from zoo.presets.fields import missing

    presets = installed().presets()
    values = tree(name, presets)
    kind = config_class(values["family"])
    if absent := missing(kind, values):
        raise ConfigError(f"{presets[name].file}: {absent[0]} has no value", hint=f"type: {absent[0]}=VALUE")
    try:
        return kind.from_dict(values)
    except UsageError as error:
        raise ConfigError(f"{presets[name].file}: {error.what}", why=error.why, hint=error.hint) from None


def tree(
    name: str, presets: Mapping[str, Preset], options: Callable[[], Mapping[str, Preset]] | None = None
) -> dict[str, Any]:
    """The plain values of a preset and its family, strangers' held to the fields that the family has.

    `options` lists those of groups: the installed plugins' by default. Raises UnknownName, or ZooError with the file.
    """
    from zoo.presets.file import merged, parts

    made_of = parts(name, presets, options or installed().options)
    values = merged(made_of)
    file = presets[name].file
    if not isinstance(values.get("family"), str):
        hint = "start its defaults with /schema/FAMILY@_here_"
        raise ConfigError(f"{file}: the preset names no family", hint=hint)
    if len(families := {part.values["family"]: 0 for part in made_of if "family" in part.values}) > 1:
        raise ConfigError(f"{file}: two families: {clean(' and '.join(map(str, families)))}")
    for part in made_of:
        if part.preset.package != OURS:
            from zoo.presets.fields import hold

            hold(part.values, config_class(values["family"]), part.preset.file)
    return values


def config_class(family: str) -> type[ModelConfig]:
    """The config class of a family. Raises UnknownName, or ZooError where it cannot be imported."""
    from zoo.anatomy.fields import types_of

    found = installed()[family]
    try:
        kind = found.config_class
        types_of(kind), fields(kind)
        return kind
    except Exception as error:  # a third party's code
        why = clean(f"{type(error).__name__}: {error}", 200)
        raise ZooError(f"the config of family {family!r} cannot be read", why=why) from error


def record(preset: Preset, presets: Mapping[str, Preset]) -> ModelRecord:
    """What a preset describes, or the problem with it."""
    known = {"name": preset.name, "plugin": preset.plugin}
    # A third party's preset and config class: whatever is wrong with them must not take the other models with it.
    try:
        known["description"] = clean(preset.description, 200)
        values = tree(preset.name, presets)
        known["family"] = clean(values["family"])
        with nullcontext() if preset.package == OURS else isolated(""):
            return ModelRecord(**known, **_traits(config_class(values["family"]).from_dict(values)))
    except Exception as error:
        reason = error.what if isinstance(error, ZooError) else f"{type(error).__name__}: {error}"
        return ModelRecord(**known, problem=clean(reason, 400))


def in_the_box() -> frozenset[str]:
    """The models whose weights come with zoo itself."""
    return frozenset(entry.name for entry in (files("zoo") / "box").iterdir() if entry.is_dir())


def matches(name: str, pattern: str | None) -> bool:
    """Whether a name matches a shell pattern, or contains it where it has no wildcard; case does not matter."""
    if not pattern:
        return True
    has_wildcard = any(c in pattern for c in "*?[")
    return fnmatchcase(name.lower(), pattern.lower() if has_wildcard else f"*{pattern.lower()}*")


def read_index(presets: Mapping[str, Preset]) -> dict[str, ModelRecord]:
    """What the index says of our own presets: nothing, if it was made from other files than those that are there."""
    import json

    try:
        index = json.loads((files(OURS) / INDEX).read_bytes())
        if index["checksum"] != checksum(presets):
            return {}
        return {row["name"]: ModelRecord(**row) for row in index["models"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def make_index(presets: Mapping[str, Preset]) -> dict[str, Any]:
    """The index of our own presets, as JSON values that leave out what is empty."""
    ours = [record(preset, presets) for preset in presets.values() if preset.package == OURS]
    return {
        "checksum": checksum(presets),
        "models": [{key: value for key, value in asdict(r).items() if value not in (None, "", False)} for r in ours],
    }


def checksum(presets: Mapping[str, Preset]) -> int:
    """One number for the names and texts of our own presets."""
    number = 0
    for name, preset in presets.items():
        if preset.package == OURS:
            number = crc32(preset.file.read_bytes(), crc32(name.encode(), number))
    return number


def _traits(c: ModelConfig) -> dict[str, Any]:
    """What a config tells of its model without torch."""
    from zoo.anatomy.config import NoAnatomy

    told = {"hub": c.hub, "gated": c.gated, "num_layers": getattr(c, "num_layers", None)}
    try:
        anatomy = c.anatomy()
    except NoAnatomy:  # known by building it only, which needs torch
        return told | {"max_seq_len": getattr(c, "max_seq_len", None)}
    return told | {
        "parameters": sum(weight.numel for weight in anatomy.weights),
        "attention": anatomy.traits.get("attention", ""),
        "position": anatomy.traits.get("position", ""),
        "max_seq_len": anatomy.max_seq_len,
    }


def _is_absent(r: ModelRecord, registry: Registry) -> bool:
    """Whether a preset's family is missing because a plugin of the same distribution was not loaded."""
    unloaded = {plugin.distribution for plugin in registry.plugins if plugin.reason}
    return bool(r.family) and r.family not in registry.families and r.plugin in unloaded
