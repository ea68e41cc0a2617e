"""The hooks that are the whole contract between the registry and a plugin; it implements those that it needs."""

from __future__ import annotations

from collections.abc import Iterable

from pluggy import HookimplMarker, HookspecMarker

from zoo.registry.additions import Command, Format
from zoo.registry.family import Family

hookspec = HookspecMarker("zoo")
hookimpl = HookimplMarker("zoo")


@hookspec
def zoo_families() -> Iterable[Family]:
    """Return the model families this plugin provides."""
    raise AssertionError("a specification is never called")


@hookspec
def zoo_config_packages() -> Iterable[str]:
    """Return the importable packages that hold this plugin's presets, e.g. "zoo_mamba.conf".

    Presets are `model/NAME.yaml` inside the package; the package's `__init__` must be light.
    """
    raise AssertionError("a specification is never called")


@hookspec
def zoo_formats() -> Iterable[Format]:
    """Return formats of families that other plugins provide: an exporter for another engine, a laboratory's layout."""
    raise AssertionError("a specification is never called")


@hookspec
def zoo_commands() -> Iterable[Command]:
    """Return commands that this plugin adds to `zoo`, each with a lazy reference to its click.Command."""
    raise AssertionError("a specification is never called")
