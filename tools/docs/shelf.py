"""What the repository holds: its families, their presets and the presets' configs, each read once."""

from __future__ import annotations

from functools import cache

from zoo.anatomy.config import ModelConfig
from zoo.presets import ModelRecord, list_models
from zoo.presets.file import resolve
from zoo.registry import Preset, installed
from zoo.registry.family import Family


@cache
def built_in() -> dict[str, Family]:
    """The families of this repository by name."""
    registry = installed()
    ours = {n: f for n, f in registry.families.items() if registry.origin[n].distribution == "zoo-lm"}
    return dict(sorted(ours.items()))


@cache
def models_of(family: str) -> list[ModelRecord]:
    """The presets of a family."""
    return list_models(family=family)


@cache
def config_of(preset: str) -> ModelConfig:
    """The config of a preset as it stands."""
    values = resolve(preset, _presets())
    return installed()[values["family"]].config_class.from_dict(values)


@cache
def _presets() -> dict[str, Preset]:
    return installed().presets()
