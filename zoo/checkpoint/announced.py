"""What will be written of a model, known before any tensor is computed. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping

from zoo.anatomy.config import ModelConfig
from zoo.checkpoint.interpretation import table_for
from zoo.checkpoint.target import foreign_config
from zoo.errors import UsageError, clean
from zoo.files.safetensors_writer import TensorSpec
from zoo.registry.family import OURS, Family
from zoo.weights.table import Step, foreign_shapes


def check_written(family: Family, format: str, config: ModelConfig) -> None:
    """Raise UsageError for no format of the family, one that is read alone, or one that cannot store this config."""
    if format not in (formats := [*OURS, *family.formats]):
        raise UsageError(f"{family.name} has no {clean(format)!r} format", why=f"it has: {', '.join(formats)}")
    if format not in OURS and not family.dialect(format).is_written:
        raise UsageError(f"{family.name}'s {format} format can be read but not written")
    foreign_config(family, format, config)


def export_steps(family: Family, format: str, config: ModelConfig, ours: Mapping[str, TensorSpec]) -> list[Step]:
    """The table's steps for every weight of ours, in its order."""
    steps, orphans = table_for(family, format, config).plan(ours)
    assert not orphans, f"{family.name}: the {format} table has no rule for {orphans[:3]}"
    return steps


def foreign_specs(steps: list[Step], ours: Mapping[str, TensorSpec]) -> dict[str, TensorSpec]:
    """dtype and shape of every tensor to be written, known before any is computed."""
    shapes = {name: shape for name, (_, shape) in ours.items()}
    return {
        name: (ours[step.ours[0]][0], shape) for step in steps for name, shape in foreign_shapes(step, shapes).items()
    }
