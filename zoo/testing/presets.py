"""The presets that a family's distribution ships for it can be composed, and say whose they are."""

from __future__ import annotations

from zoo.presets import ModelRecord, list_models
from zoo.registry import installed
from zoo.testing.check import Skipped, require, shown
from zoo.testing.subject import Subject


def its_presets_can_be_composed(s: Subject) -> str:
    """Every key a field, every value of its type, no name that another distribution has."""
    plugin = installed().origin.get(s.family.name)
    if plugin is None:
        raise Skipped("it does not come from an installed distribution")
    mine = presets_of(plugin.distribution, s.family.name)
    hidden = [new.name for _, new in installed().preset_clashes() if new.plugin == plugin.distribution]
    if not mine and not hidden:
        raise Skipped(f"{plugin.distribution} has no preset of it")
    wrong = [f"{record.name}: {record.problem}" for record in mine if record.problem]
    wrong += [f"{name}: another distribution has a preset of this name" for name in hidden]
    require(not wrong, shown(wrong))
    bare = [record.name for record in mine if not record.description]
    require(not bare, f"no comment on the first line of {shown(bare)}")
    return f"{len(mine)} presets"


def presets_of(distribution: str, family: str) -> list[ModelRecord]:
    """The presets of a distribution that belong to a family, and those that are too wrong to belong to any."""
    known = installed().families
    return [
        record
        for record in list_models()
        if record.plugin == distribution and (record.family == family or record.family not in known)
    ]


PROPERTIES = (its_presets_can_be_composed,)
