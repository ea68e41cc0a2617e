"""Preset files as plain dicts: YAML parsed without Hydra, defaults lists resolved as Hydra would.

Presets of zoo.conf are ours; any other is data from strangers and is scanned before it is parsed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING, Any

import yaml

from zoo.errors import ConfigError, UnknownName, ZooError, clean
from zoo.registry import OURS, Preset

MAX_BYTES = 1 << 20
MAX_DEPTH = 20
MAX_ENTRIES = 10_000


def resolve(name: str, presets: Mapping[str, Preset], _above: tuple[str, ...] = ()) -> dict[str, Any]:
    """The values of the preset called `name`, those of the presets it extends included, and its `family`.

    Raises UnknownName for a preset that is not there, ZooError for one that is not a preset.
    """
    if name in _above:
        raise ConfigError(f"presets extend each other in a circle: {' -> '.join((*_above, name))}")
    if name not in presets:
        raise UnknownName(f"no config {name!r} in group 'model'", name, presets)
    preset = presets[name]
    own = read(preset)
    defaults = own.pop("defaults", [])
    if not isinstance(defaults, list):
        raise ZooError(f"{preset.file}: its defaults are not a list")
    merged: dict[str, Any] = {}
    for entry in defaults if "_self_" in defaults else [*defaults, "_self_"]:
        merged = merge(merged, own if entry == "_self_" else _extended(entry, preset, presets, (*_above, name)))
    return merged


def merge(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """`old` overridden by `new`; groups of fields are merged, anything else is replaced."""
    both = {k: merge(old[k], v) if isinstance(old.get(k), dict) and isinstance(v, dict) else v for k, v in new.items()}
    return {**old, **both}


def read(preset: Preset) -> dict[str, Any]:
    """What a preset's own file says. Raises ZooError, which names the file, for what is not a preset."""
    try:
        data = preset.file.read_bytes()
        if preset.package != OURS:
            check(data, preset.file)
        values = yaml.load(data, Loader)
    except (OSError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise ZooError(f"{preset.file}: not a YAML file that can be read", why=clean(error, 200)) from None
    if not isinstance(values, dict):
        raise ZooError(f"{preset.file}: not a group of fields")
    return values


def check(data: bytes, file: Traversable | str) -> None:
    """Refuse YAML that a stranger's preset has no use for. Raises ZooError, which names the file and the line.

    Anchors and aliases can grow without bound, tags construct objects, `${` asks Hydra to look things up and
    `_target_` asks it to call them (RELIABILITY G1).
    """
    if len(data) > MAX_BYTES:
        raise ZooError(f"{file}: {len(data)} bytes are more than the {MAX_BYTES} a preset may have")
    try:
        _check_events(data, file)
    except yaml.YAMLError as error:
        raise ZooError(f"{file}: not a YAML file that can be read", why=clean(error, 200)) from None


def _check_events(data: bytes, file: Traversable | str) -> None:
    depth = entries = documents = 0
    for event in yaml.parse(data, Loader):
        documents += isinstance(event, yaml.DocumentStartEvent)
        entries += isinstance(event, yaml.NodeEvent)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        found = _unwanted(event)
        if documents > 1:
            found = "a second document"
        elif depth > MAX_DEPTH:
            found = f"more than {MAX_DEPTH} levels"
        elif entries > MAX_ENTRIES:
            found = f"more than {MAX_ENTRIES} entries"
        if found:
            raise ZooError(f"{file}: line {event.start_mark.line + 1}: {found}, which a preset may not have")


def _unwanted(event: Any) -> str:
    """What of one event a preset may not have."""
    if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
        return "an anchor or alias"
    if getattr(event, "tag", None):
        return f"the tag {clean(event.tag)}"
    if not isinstance(event, yaml.ScalarEvent):
        return ""
    if "${" in event.value:
        return "an interpolation ${"
    return "_target_" if event.value == "_target_" else ""


def _extended(entry: Any, preset: Preset, presets: Mapping[str, Preset], above: tuple[str, ...]) -> dict[str, Any]:
    """What one entry of a defaults list brings."""
    if isinstance(entry, str):
        path = entry.removesuffix("@_here_")
        if path.startswith("/schema/"):
            return {"family": path.removeprefix("/schema/")}
        if not path.startswith("/"):
            return resolve(path, presets, above)
        if path.startswith("/model/"):
            return resolve(path.removeprefix("/model/"), presets, above)
    raise ZooError(
        f"{preset.file}: defaults: {clean(entry)} is neither /schema/FAMILY@_here_, another preset nor _self_"
    )


if TYPE_CHECKING:
    _Fastest = yaml.SafeLoader
else:
    _Fastest = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # PyYAML may be built without libyaml


class Loader(_Fastest):
    """YAML as OmegaConf reads it: 1e-5 is a number, a date is text, a key given twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if len(keys) > len(set(keys)):
            twice = next(key for key in keys if keys.count(key) > 1)
            raise yaml.constructor.ConstructorError(None, None, f"the key {twice!r} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(_[0-9]+)*(\.[0-9_]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)
Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in Loader.yaml_implicit_resolvers.items()
}
