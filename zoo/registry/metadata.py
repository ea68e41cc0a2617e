"""What the metadata of installed distributions say of plugins, read without importing any."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Any

from zoo.registry.isolation import reason_of
from zoo.registry.scan import InfoFolder, NotPlain, PluginPoint, scanned_points

if TYPE_CHECKING:
    from importlib.metadata import Distribution, EntryPoint

    AnyPoint = EntryPoint | PluginPoint

GROUP = "zoo"
DISTRIBUTION = "zoo-lm"


def entry_points_of(group: str) -> tuple[Iterable[AnyPoint], dict[str, str]]:
    """The entry points of a group and, by place, why the metadata of something installed cannot be read."""
    try:
        return scanned_points(group), {}
    except NotPlain:
        return _all_points(group)


def _all_points(group: str) -> tuple[Iterable[EntryPoint], dict[str, str]]:
    from importlib.metadata import distributions, entry_points

    try:
        return entry_points(group=group), {}
    except Exception:
        found: dict[tuple[str, str], EntryPoint] = {}
    unreadable: dict[str, str] = {}
    for distribution in distributions():
        try:
            points = [point for point in distribution.entry_points if point.group == group]
            found |= {(point.name, point.value): point for point in points}
        except Exception as error:  # whatever it is, it is not ours
            where = getattr(distribution, "_path", None)
            unreadable[getattr(where, "name", "?")] = f"its metadata: {reason_of(error)}"
    return found.values(), unreadable


@cache
def identity(dist: Distribution | InfoFolder | None) -> tuple[str, str]:
    """Name and version. Reading them parses the whole METADATA, so it is done once per distribution."""
    try:
        metadata: Any = dist.metadata if dist is not None else {}
        return str(metadata["Name"] or "?"), str(metadata["Version"] or "?")
    except Exception:  # none, or a third party's that cannot be read
        return "?", "?"


def loading_order(point: AnyPoint) -> tuple[bool, str, str]:
    name, _ = identity(point.dist)
    return (name != DISTRIBUTION, name, point.name)  # our own first: a third party cannot take a built-in's name


def unmet_requirement(point: AnyPoint) -> str:
    """The sentence that refuses a plugin whose own requirement on zoo-lm does not hold; empty where it does."""
    from packaging.requirements import Requirement

    from zoo.version import __version__

    for line in (point.dist.requires or []) if point.dist else []:
        requirement = Requirement(line)
        if requirement.name.lower().replace("_", "-") != DISTRIBUTION:
            continue
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        if not requirement.specifier.contains(__version__, prereleases=True):
            return f"requires {DISTRIBUTION}{requirement.specifier}, this is {DISTRIBUTION} {__version__}"
    return ""
