"""Who provides which family: the plugins that entry points name, and the hooks they implement."""

from zoo.registry.additions import Command, Format
from zoo.registry.family import Family
from zoo.registry.finding import find_preset
from zoo.registry.hookspecs import hookimpl
from zoo.registry.metadata import DISTRIBUTION, GROUP
from zoo.registry.plugins import Registry, installed
from zoo.registry.records import Plugin, Preset
from zoo.registry.shelf import OURS

__all__ = [
    "DISTRIBUTION", "GROUP", "OURS", "Command", "Family", "Format", "Plugin", "Preset", "Registry", "find_preset",
    "hookimpl", "installed",
]  # fmt: skip
