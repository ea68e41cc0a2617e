"""Presets by name, and what is said where there is none."""

from __future__ import annotations

from zoo.errors import UnknownName, clean
from zoo.registry.plugins import installed
from zoo.registry.records import Preset


def find_preset(name: str) -> Preset:
    """The preset called `name`. Raises UnknownName with the nearest."""
    presets = installed().presets()
    if name not in presets:
        raise UnknownName(no_such(name), clean(name), presets)
    return presets[name]


def no_such(name: str, group: str = "model") -> str:
    """What is said of a name that no model has, or of an option that a part of models has not."""
    what = "no model is called" if group == "model" else f"{clean(group)} has no option"
    return f"{what} {clean(name)!r}{installed().not_loaded}"
