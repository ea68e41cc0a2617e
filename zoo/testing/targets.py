"""Whom a name means: a family, a plugin, or all that a distribution brings."""

from __future__ import annotations

import re

from zoo.errors import UnknownName
from zoo.registry import Plugin, installed
from zoo.testing.check import Check


def plugins_of(name: str) -> list[Plugin]:
    """The plugins of a distribution, or the one that has this name or provides this family, broken ones included.

    Raises UnknownName where nothing installed goes by the name.
    """
    registry = installed()
    if name in registry.origin:
        return [registry.origin[name]]
    if found := [p for p in registry.plugins if _canonical(p.distribution) == _canonical(name)]:
        return found
    if found := [p for p in registry.plugins if p.name == name]:
        return found
    known = {*registry.families, *(p.name for p in registry.plugins), *(p.distribution for p in registry.plugins)}
    raise UnknownName(
        f"no family, plugin or distribution is called {name!r}",
        name,
        known,
        hint="is it installed in this environment? See: zoo plugins",
    )


def families_of(name: str) -> list[str]:
    """The family of this name, or the families of the plugin or distribution. Raises UnknownName."""
    if name in installed().origin:
        return [name]
    return [family.name for plugin in plugins_of(name) for family in plugin.families]


def loading(plugin: Plugin) -> Check:
    """Whether a plugin came in at all: what nothing else can be asked of one that did not."""
    name = f"the plugin {plugin.name} loads"
    if plugin.reason:
        return Check("registry", name, "fail", f"{plugin.state}: {plugin.reason}")
    if not plugin.families:
        return Check("registry", name, "skip", "it provides presets but no family")
    return Check("registry", name, "ok", f"{plugin.distribution} {plugin.version}, {plugin.seconds * 1000:.0f} ms")


def _canonical(name: str) -> str:
    """A distribution's name as PyPI compares it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
