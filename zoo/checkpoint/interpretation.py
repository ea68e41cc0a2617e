"""How a family reads a checkpoint: the config its keys describe, the table of its tensors, the shapes of ours."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from zoo.anatomy.config import MAX_LAYERS, ModelConfig
from zoo.errors import CheckpointError, ConfigError, UsageError, ZooError, clean, some
from zoo.files.block_fp8 import block_size
from zoo.files.checkpoint import Checkpoint
from zoo.files.tensor_info import TensorInfo
from zoo.registry.family import Family
from zoo.weights.dialect import Dialect
from zoo.weights.foreign.config import ForeignConfig
from zoo.weights.ops import Shape
from zoo.weights.table import Identity, Table

TOO_MANY = f"more than {MAX_LAYERS} layers are refused"
LAYERS = re.compile(r"layers?$|block_count$")  # keys that number them, in every dialect


def read_config(family: Family, checkpoint: Checkpoint, allow: Iterable[str] = ()) -> tuple[ForeignConfig, ModelConfig]:
    """The config a checkpoint's foreign keys describe, every key accounted for."""
    keys = ForeignConfig(checkpoint.config, config_file(checkpoint), checkpoint.tensors)
    if block_size(checkpoint.config, config_file(checkpoint)):
        keys.used.add("quantization_config")  # the reader undoes it
    try:
        if checkpoint.dialect == "zoo":
            keys.used.update(checkpoint.config)
            config = family.config_class.from_dict({k: v for k, v in checkpoint.config.items() if k != "zoo"})
        else:
            config = dialect_of(family, checkpoint.dialect).from_config(keys)
            keys.check(where=family.name, allow=allow)
    except ConfigError as error:
        raise CheckpointError(config_file(checkpoint), "", clean(error.what, 200), why=error.why) from None
    if getattr(config, "num_layers", 0) > MAX_LAYERS:  # under a key that only this family has
        raise CheckpointError(config_file(checkpoint), "", TOO_MANY)
    return keys, config


def refuse_endless(checkpoint: Checkpoint) -> None:
    """A number in a file must not make us list a billion weights. Raises CheckpointError before any family reads it."""
    groups = [checkpoint.config, *(group for group in checkpoint.config.values() if isinstance(group, dict))]
    for key, value in (item for group in groups for item in group.items()):
        if isinstance(value, int | float) and value > MAX_LAYERS and LAYERS.search(str(key)):
            raise CheckpointError(config_file(checkpoint), clean(str(key)), TOO_MANY)


def overridden(config: ModelConfig, overrides: Iterable[str]) -> ModelConfig:
    """The config with fields set by `model.FIELD=VALUE`, values as YAML. Raises ConfigError for an unknown field."""
    values = config.to_dict()
    for override in overrides:
        path, equals, text = override.partition("=")
        names = path.split(".")
        if not equals or names[0] != "model" or len(names) < 2:
            raise UsageError(f"{clean(override)!r} is not model.FIELD=VALUE")
        import yaml

        group: Any = values
        for name in names[1:-1]:
            group = group.get(name) if isinstance(group, dict) else None
        if not isinstance(group, dict):
            raise UsageError(f"{clean(path)!r} is no field of {type(config).__name__}")
        try:
            group[names[-1]] = yaml.safe_load(text)
        except yaml.YAMLError:
            raise UsageError(f"{clean(override)!r}: the value is not YAML") from None
    return type(config).from_dict(values)


def table_for(
    family: Family, dialect: str, config: ModelConfig, tensors: Mapping[str, TensorInfo] | None = None
) -> Table:
    """The weight table of a family's dialect: for the files that hold `tensors`, or as zoo writes it."""
    if dialect == "zoo":
        return Identity()
    return dialect_of(family, dialect).table(config, tensors)


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


def config_file(checkpoint: Checkpoint) -> Path:
    """Where the foreign config lies, to be named in errors."""
    names = {"meta": "params.json", "gguf": checkpoint.files[0].name}
    return checkpoint.folder / names.get(checkpoint.dialect, "config.json")


def main_dtype(checkpoint: Checkpoint) -> str:
    """The floating-point type of most of the weights' bytes."""
    nbytes: dict[str, int] = {}
    for info in checkpoint.tensors.values():
        if info.dtype.startswith(("float", "bfloat")):
            nbytes[info.dtype] = nbytes.get(info.dtype, 0) + info.nbytes
    return max(nbytes, key=nbytes.__getitem__, default="float32")
