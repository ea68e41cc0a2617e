"""How a family reads a checkpoint: the config its keys describe, the table of its tensors, the shapes of ours."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from zoo.config import MAX_LAYERS, ModelConfig
from zoo.errors import CheckpointError, ConfigError, ZooError, clean, some
from zoo.family import Family
from zoo.weights.block_fp8 import block_size
from zoo.weights.checkpoint import Checkpoint
from zoo.weights.foreign_config import ForeignConfig
from zoo.weights.ops import Shape
from zoo.weights.table import Identity, Table
from zoo.weights.tensor_info import TensorInfo

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
    """The config with overrides, read as those of a preset are. Raises UsageError or ConfigError as `compose` does."""
    if not (overrides := list(overrides)):
        return config
    from zoo.composition import override  # Hydra, whose grammar it is: only where there is something to read

    return override(config, overrides)


def table_for(
    family: Family, dialect: str, config: ModelConfig, tensors: Mapping[str, TensorInfo] | None = None
) -> Table:
    """The weight table of a family's dialect: for the files that hold `tensors`, or as zoo writes it."""
    if dialect == "zoo":
        return Identity()
    module = dialect_of(family, dialect)
    if tensors is not None and hasattr(module, "mapping_of"):  # the layout depends on how many parts the files have
        return module.mapping_of(config, tensors)
    return module.mapping(config)


def dialect_of(family: Family, dialect: str) -> Any:
    """The module of a family's foreign format. Raises ZooError where it has none of this name."""
    if dialect not in family.formats:
        raise ZooError(f"{family.name} has no {dialect!r} format", why=f"it has: {some(['zoo', *family.formats], 9)}")
    return family.dialect(dialect)


def our_shapes(family: Family, config: ModelConfig) -> dict[str, Shape]:
    """Our weights by name and shape: from the family's anatomy, else by building it on meta, which needs torch."""
    if type(config).anatomy is not ModelConfig.anatomy:
        return config.anatomy().shapes()
    from zoo.construction import on_meta

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
