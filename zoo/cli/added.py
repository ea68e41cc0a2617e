"""The commands that plugins add to `zoo`."""

from __future__ import annotations

from pkgutil import resolve_name

import click

from zoo.errors import clean


def by_plugin() -> dict[str, list[tuple[str, str]]]:
    """The commands that plugins add, with their line in the help, by the distribution that brings them."""
    from zoo.registry import installed

    return {
        clean(p.distribution): [(c.name, clean(c.about, 200)) for c in p.commands]
        for p in installed().plugins
        if p.commands
    }


def added(name: str) -> click.Command | None:
    """A plugin's command of this name. Raises PluginError, and that alone, for one that cannot be imported."""
    from zoo.registry import installed
    from zoo.registry.isolation import PluginError, isolated

    for plugin in installed().plugins:
        for command in plugin.commands:
            if command.name == name:
                with isolated(f"the command {name!r} of {plugin.distribution}"):
                    found = resolve_name(command.target)
                if not isinstance(found, click.Command):
                    raise PluginError(
                        f"the command {name!r} of {plugin.distribution}: {command.target} is not a click.Command"
                    )
                found.name = name
                return found
    return None
