"""Who provides which family: the plugins that entry points name, and the hooks they implement."""

from zoo.registry.family import Family
from zoo.registry.hookspecs import hookimpl
from zoo.registry.plugins import DISTRIBUTION, GROUP, OURS, Plugin, Preset, Registry, find_preset, installed

__all__ = [
    "DISTRIBUTION", "GROUP", "OURS", "Family", "Plugin", "Preset", "Registry", "find_preset", "hookimpl", "installed",
]  # fmt: skip
