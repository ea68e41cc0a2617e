"""A model's weights in any of its family's formats: the table of loading read backwards, one tensor at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from zoo.adapters.peft_library import is_adapted
from zoo.anatomy.config import ModelConfig
from zoo.anatomy.edited import refuse_edited
from zoo.checkpoint.altered import refuse_altered
from zoo.checkpoint.announced import check_written, export_steps, foreign_specs
from zoo.checkpoint.as_it_lay import as_it_lay, check_dtype, settings_of
from zoo.checkpoint.checks import is_finite
from zoo.checkpoint.over_ranks import written
from zoo.checkpoint.provenance import origin
from zoo.checkpoint.target import Target, companions
from zoo.errors import UsageError, ZooError
from zoo.models.construction import shared_parameters
from zoo.nn.packed import packed_layers
from zoo.parallel.gathering import weights_of
from zoo.registry import installed
from zoo.registry.family import Family
from zoo.units import parse_bytes
from zoo.weights.table import Step

__all__ = ["check_written", "companions", "dtype_name", "export_steps", "exported", "foreign_specs", "save"]


def save(
    model: nn.Module,
    folder: str | Path,
    *,
    format: str = "hf",
    max_shard_size: int | str = "5GB",
    force: bool = False,
    type: str | None = None,
) -> Path:
    """Write config, weights and zoo.json of `model` as its family's `format` (hf, zoo, meta, ...), all or nothing.

    Files hold at most `max_shard_size`: bytes or 5GB, 200MB, 1GiB. As gguf it is one file, whose matrices are of the
    given `type` (q8_0, bf16, ...; None: as they are). Weights that were kept packed are written as they lay in their
    file. Raises UsageError where they no longer are that, for a model on meta or of no family, and for one whose
    weights are not those that its config describes; ZooError for NaN and infinity, if the folder exists and zoo did not
    write it, or if the disk refuses.
    """
    config = getattr(model, "config", None)
    if not isinstance(config, ModelConfig):
        raise UsageError("the model has no zoo config", hint="save a model that zoo.build or zoo.load made")
    refuse_edited(config, getattr(model, "built_from", None))
    if is_adapted(model):
        hint = "zoo.adapters.save_adapter(model, folder) writes it, zoo.adapters.merge(model) takes it in"
        raise UsageError("zoo.save: an adapter stands beside the weights", hint=hint)
    packed = packed_layers(model)
    parts = as_it_lay(model, format, packed) if packed else {}
    if any(parameter.is_meta for parameter in model.parameters()):
        raise UsageError("the model is on meta and has no weights", hint="build or load it with device='cpu'")
    family = installed()[config.family]
    ours, whole_of = weights_of(model)
    specs = {name: (dtype_name(t), tuple(t.shape)) for name, t in ours.items()}
    seconds = {name: tuple(p.shape) for names, p in shared_parameters(model) for name in names[1:]}
    refuse_altered(family, config, {name: shape for name, (_, shape) in specs.items()}, packed, seconds)
    dtypes = {dtype for dtype, _ in specs.values()}
    config = _with_dtype(config, dtypes.pop()) if len(dtypes) == 1 else config
    check_written(family, format, config)
    if packed:
        check_dtype(model, config.dtype)
    steps = export_steps(family, format, config, specs)
    ledger = getattr(model, "ledger", None)
    provenance: dict[str, Any] = {"family": family.name, "format": format, "plugin": _plugin(family)}
    if ledger is not None:
        provenance |= origin(ledger, is_packed=bool(packed))
    beside = {name: (dtype_name(t), tuple(t.shape)) for name, t in parts.items()}
    target = Target(
        Path(folder).expanduser(), family, format, config, foreign_specs(steps, specs) | beside, provenance,
        ledger=ledger, max_shard_size=parse_bytes(max_shard_size), force=force, encoding=type,
        settings=settings_of(model) if packed else {},
    )  # fmt: skip
    return written(model, target.write, chain(exported(steps, partial(_finite, whole_of)), parts.items()))


def exported(steps: list[Step], ours: Callable[[str], Tensor]) -> Iterator[tuple[str, Tensor]]:
    """The foreign tensors, one step after the other."""
    for step in steps:
        theirs = step.op.dump([ours(name) for name in step.ours])
        yield from ((name, t.contiguous()) for name, t in zip(step.theirs, theirs, strict=True))


def _finite(ours: Callable[[str], Tensor], name: str) -> Tensor:
    if not is_finite(found := ours(name)):
        hint = "zoo reads no weights with such numbers; torch.save(model.state_dict(), FILE) keeps them all the same"
        raise ZooError(f"zoo.save: {name} contains NaN or infinity", hint=hint)
    return found


def dtype_name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _with_dtype(config: ModelConfig, dtype: str) -> ModelConfig:
    from dataclasses import replace

    return replace(config, dtype=dtype)


def _plugin(family: Family) -> str:
    plugin = installed().origin[family.name]
    return f"{plugin.distribution} {plugin.version}"
