"""How a family reads a checkpoint: the config its keys describe, the table of its tensors, the shapes of ours."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from zoo.anatomy.config import MAX_LAYERS, ModelConfig
from zoo.anatomy.frequencies import check_factors
from zoo.anatomy.ranges import refuse_out_of_range
from zoo.anatomy.records import Shape
from zoo.checkpoint.counting import compare_counts, most_for
from zoo.errors import CheckpointError, ConfigError, ZooError, clean, some
from zoo.files.checkpoint import Checkpoint
from zoo.files.tensor_info import TensorInfo
from zoo.registry.family import OURS, Family
from zoo.weights.dialect import Dialect
from zoo.weights.entries import Alias
from zoo.weights.foreign.config import ForeignConfig
from zoo.weights.foreign.inert import OF_SCORES
from zoo.weights.nesting import NestedTable
from zoo.weights.table import Identity, Table

TOO_MANY = f"more than {MAX_LAYERS} layers are refused"
LAYERS = re.compile(r"layers?$|block_count$|depth$")  # keys that number them, in every dialect


def read_config(family: Family, checkpoint: Checkpoint, allow: Iterable[str] = ()) -> tuple[ForeignConfig, ModelConfig]:
    """The config a checkpoint's foreign keys describe, every key accounted for."""
    keys = ForeignConfig(checkpoint.config, checkpoint.config_file, checkpoint.tensors)
    if checkpoint.packing:
        keys.undone = checkpoint.packing.keys  # by the reader of the files
        keys.used |= keys.undone
    try:
        if checkpoint.dialect == "zoo":
            keys.used.update(checkpoint.config)
            beside = {"zoo", *OF_SCORES}
            config = family.config_class.from_dict({k: v for k, v in checkpoint.config.items() if k not in beside})
        else:
            config = dialect_of(family, checkpoint.dialect).from_config(keys)
            keys.check(where=family.name, allow=allow, is_asked=not _claims(family, checkpoint))
        refuse_out_of_range(config)
        check_factors(config)
    except ConfigError as error:
        item = in_their_words(keys, error.what)
        raise CheckpointError(checkpoint.config_file, item, clean(error.what, 200), why=error.why) from None
    if getattr(config, "num_layers", 0) > MAX_LAYERS:  # under a key that only this family has
        raise CheckpointError(checkpoint.config_file, "", TOO_MANY)
    return keys, config


def in_their_words(keys: ForeignConfig, what: str) -> str:
    """The key of the file that the first field named in `what` was read from; nothing where none is."""
    for path in re.findall(r"\bmodel\.((?:\w+\.)*\w+)", what):
        *above, name = path.split(".")
        if above and above[0].endswith("rope"):
            return "rope_parameters"
        near = sorted(keys.groups, key=lambda group: not group.name.startswith(above[0])) if above else []
        for group in [*near, keys, *keys.groups]:
            if name in group.spelt:
                return f"{group.name}.{group.spelt[name]}".removeprefix(".")
    return ""


def _claims(family: Family, checkpoint: Checkpoint) -> bool:
    """Whether the file itself says that it is this family's; families that look for more than a type are believed."""
    return checkpoint.dialect != "hf" or not family.hf_types or checkpoint.config.get("model_type") in family.hf_types


def refuse_endless(checkpoint: Checkpoint) -> None:
    """A number in a file must not make us list a billion weights. Raises CheckpointError before any family reads it."""
    groups = [checkpoint.config, *(group for group in checkpoint.config.values() if isinstance(group, dict))]
    there = len(checkpoint.tensors)
    for key, value in (item for group in groups for item in group.items()):
        if not isinstance(value, int | float) or not LAYERS.search(str(key)):
            continue
        if value > MAX_LAYERS:
            raise CheckpointError(checkpoint.config_file, clean(str(key)), TOO_MANY)
        if value > most_for(there):
            raise CheckpointError(checkpoint.config_file, clean(str(key)), f"{value:,} layers, of {there:,} tensors")


def overridden(config: ModelConfig, overrides: Iterable[str]) -> ModelConfig:
    """The config with overrides, read as those of a preset are. Raises UsageError or ConfigError as `compose` does."""
    if not (overrides := list(overrides)):
        return config
    from zoo.presets.composition import override  # Hydra, whose grammar it is: only where there is something to read

    return override(config, *overrides)


def differing(one: ModelConfig, other: ModelConfig) -> dict[str, tuple[Any, Any]]:
    """The fields of two configs of a class that differ, by path (`model.rope.theta`), with both values."""

    def flat(values: dict[str, Any], path: str) -> dict[str, Any]:
        inside = [
            flat(v, f"{path}.{k}") if isinstance(v, dict) and v else {f"{path}.{k}": v} for k, v in values.items()
        ]
        return {name: value for part in inside for name, value in part.items()}

    a, b = flat(one.to_dict(), "model"), flat(other.to_dict(), "model")
    return {path: (a.get(path), b.get(path)) for path in {**a, **b} if a.get(path) != b.get(path)}


def table_for(
    family: Family, dialect: str, config: ModelConfig, tensors: Mapping[str, TensorInfo] | None = None
) -> Table:
    """The weight table of a family's dialect: for the files that hold `tensors`, or as zoo writes it."""
    if tensors is not None and (part := config.nested) is not None:
        table = table_for(family, dialect, part.whole, tensors)
        return NestedTable(table, part, our_shapes(family, config), our_shapes(family, part.whole))
    if tensors is not None:
        compare_counts(config, tensors)
    if dialect in OURS:
        return Identity(_aliases(family, config, tensors or {}))
    return dialect_of(family, dialect).table(config, tensors)


def _aliases(family: Family, config: ModelConfig, tensors: Mapping[str, TensorInfo]) -> Iterable[Alias]:
    """What the state dict of a module holds twice; only where there are names that are not of our weights."""
    if tensors.keys() <= our_shapes(family, config).keys():
        return ()
    return (Alias(name, of) for name, of in second_names(config).items())


def second_names(config: ModelConfig) -> dict[str, str]:
    """The names that a module's parameters go by besides their first, as a head that is the embedding. Needs torch."""
    from zoo.models.construction import on_meta, shared_parameters

    return {name: names[0] for names, _ in shared_parameters(on_meta(config)) for name in names[1:]}


def dialect_of(family: Family, dialect: str) -> Dialect[Any]:
    """What translates a family's foreign format. Raises ZooError where it has none of this name."""
    if dialect not in family.formats:
        raise ZooError(f"{family.name} has no {dialect!r} format", why=f"it has: {some(['zoo', *family.formats], 9)}")
    return family.dialect(dialect)


def our_shapes(family: Family, config: ModelConfig) -> dict[str, Shape]:
    """Our weights by name and shape: from the family's anatomy, else by building it on meta, which needs torch."""
    if type(config).anatomy is not ModelConfig.anatomy:
        return config.anatomy().shapes()
    from zoo.models.construction import on_meta

    return {name: tuple(p.shape) for name, p in on_meta(config).named_parameters()}


def main_dtype(checkpoint: Checkpoint) -> str:
    """The floating-point type of most of the weights' bytes."""
    nbytes: dict[str, int] = {}
    for info in checkpoint.tensors.values():
        if info.dtype.startswith(("float", "bfloat")):
            nbytes[info.dtype] = nbytes.get(info.dtype, 0) + info.nbytes
    return max(nbytes, key=nbytes.__getitem__, default="float32")
