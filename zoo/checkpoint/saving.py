"""A model's weights in any of its family's formats: the table of loading read backwards, one tensor at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from warnings import warn

from torch import Tensor, nn

from zoo.anatomy.config import ModelConfig
from zoo.checkpoint.interpretation import table_for
from zoo.checkpoint.provenance import origin
from zoo.errors import CheckpointError, UsageError, ZooWarning
from zoo.files.checkpoint import Checkpoint
from zoo.files.regular import own_file
from zoo.files.safetensors_writer import TensorSpec
from zoo.files.write import write_folder
from zoo.hub.listing import COMPANIONS
from zoo.models.construction import shared_parameters
from zoo.models.rounding import refuse_packed
from zoo.registry import installed
from zoo.registry.family import Family
from zoo.units import parse_bytes
from zoo.weights.table import Step, foreign_shapes

if TYPE_CHECKING:
    from zoo.checkpoint.inspection import Ledger


def save(
    model: nn.Module,
    folder: str | Path,
    *,
    format: str = "hf",
    max_shard_size: int | str = "5GB",
    force: bool = False,
) -> Path:
    """Write config, weights and zoo.json of `model` as its family's `format` (hf, zoo, meta, ...), all or nothing.

    Files hold at most `max_shard_size`: bytes or 5GB, 200MB, 1GiB. Raises UsageError for a model on meta or of no
    family, ZooError if the folder exists and zoo did not write it, or if the disk refuses.
    """
    config = getattr(model, "config", None)
    if not isinstance(config, ModelConfig):
        raise UsageError("the model has no zoo config", hint="save a model that zoo.build or zoo.load made")
    refuse_packed(model, "zoo.save", hint="zoo quantize writes packed weights from a checkpoint")
    if any(parameter.is_meta for parameter in model.parameters()):
        raise UsageError("the model is on meta and has no weights", hint="build or load it with device='cpu'")
    family = installed()[config.family]
    ours = {names[0]: p.detach() for names, p in shared_parameters(model)}
    specs = {name: (dtype_name(t), tuple(t.shape)) for name, t in ours.items()}
    dtypes = {dtype for dtype, _ in specs.values()}
    config = _with_dtype(config, dtypes.pop()) if len(dtypes) == 1 else config
    steps = export_steps(family, format, config, specs)
    ledger = getattr(model, "ledger", None)
    provenance: dict[str, Any] = {"family": family.name, "format": format, "plugin": _plugin(family)}
    if ledger is not None:
        provenance |= origin(ledger)
    return write_folder(
        Path(folder),
        foreign_specs(steps, specs),
        exported(steps, ours.__getitem__),
        config=foreign_config(family, format, config) | kept_settings(ledger, format),
        extra=companions(ledger.checkpoint) if ledger is not None else {},
        provenance=provenance,
        max_shard_size=parse_bytes(max_shard_size),
        force=force,
        sources=[ledger.checkpoint.path] if ledger is not None else [],
        **file_names(family, format),
    )


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


def exported(steps: list[Step], ours: Callable[[str], Tensor]) -> Iterator[tuple[str, Tensor]]:
    """The foreign tensors, one step after the other."""
    for step in steps:
        theirs = step.op.dump([ours(name) for name in step.ours])
        yield from ((name, t.contiguous()) for name, t in zip(step.theirs, theirs, strict=True))


def file_names(family: Family, format: str) -> dict[str, Any]:
    """What the files of a format are called. Raises UsageError for a format that is read and not written."""
    if format == "zoo":
        return {}
    dialect = family.dialect(format)
    if not dialect.is_written:
        raise UsageError(f"{family.name}'s {format} format can be read but not written")
    return {"config_name": dialect.files.config, "pickle_name": dialect.files.pickle}


def foreign_config(family: Family, format: str, config: ModelConfig) -> dict[str, Any]:
    """What config.json says in this format."""
    if format == "zoo":
        from zoo.version import __version__

        return {"zoo": __version__, **config.to_dict()}
    return family.dialect(format).to_config(config)


def kept_settings(ledger: Ledger | None, format: str) -> dict[str, Any]:
    """The settings of generation that config.json held, unless a generation_config.json that goes along holds them."""
    if ledger is None or format != "hf" or ledger.checkpoint.dialect != "hf":
        return {}
    from zoo.generation import settings_in

    has_file = (ledger.checkpoint.folder / "generation_config.json").is_file()
    return {} if has_file else settings_in(ledger.checkpoint.config)


def companions(checkpoint: Checkpoint) -> dict[str, bytes | Path]:
    """What goes along with the weights: tokenizer, chat template, generation settings.

    They are the files beside the weights; a GGUF file has them within.
    """
    folder = checkpoint.folder
    beside: dict[str, bytes | Path] = {
        name: own_file(folder / name) for name in COMPANIONS if (folder / name).is_file()
    }
    if checkpoint.dialect != "gguf" or "tokenizer.ggml.model" not in checkpoint.config:
        return beside
    from zoo.text.export import gguf_files

    try:
        return dict(gguf_files(checkpoint.metadata(), checkpoint.files[0]))
    except CheckpointError as error:
        first = str(error).splitlines()[0]
        warn(f"the tokenizer is not written: {first}", ZooWarning, stacklevel=2)
        return beside


def dtype_name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _with_dtype(config: ModelConfig, dtype: str) -> ModelConfig:
    from dataclasses import replace

    return replace(config, dtype=dtype)


def _plugin(family: Family) -> str:
    plugin = installed().origin[family.name]
    return f"{plugin.distribution} {plugin.version}"
