"""Any format to any other without building the model: peak memory is the largest single group of tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.checkpoint.adapted import fit_of
from zoo.checkpoint.inspection import Ledger, inspect
from zoo.checkpoint.notes import tell
from zoo.checkpoint.provenance import origin
from zoo.errors import CheckpointError, UsageError, clean, some
from zoo.files.regular import sha256_of
from zoo.units import parse_bytes
from zoo.weights.table import Step

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from zoo.adapters.fit.settled import AdapterFit
    from zoo.files.safetensors_writer import TensorSpec


@dataclass(frozen=True)
class Conversion:
    """What was read, what was written and where."""

    ledger: Ledger
    folder: Path
    format: str
    num_tensors: int
    nbytes: int  # of the tensors written
    dtype: str | None
    notes: tuple[str, ...] = ()  # what is odd about what was written
    tensors: Mapping[str, TensorSpec] = field(default_factory=dict)  # as written: type and shape of each


def convert(
    source: str | Path,
    folder: str | Path,
    *overrides: str,
    format: str = "zoo",
    dtype: str | torch.dtype | None = None,
    family: str | None = None,
    allow: Iterable[str] = (),
    allow_pickle: bool = False,
    max_shard_size: int | str = "5GB",
    force: bool = False,
    dry_run: bool = False,
    type: str | None = None,
    adapter: str | Path | None = None,
) -> Conversion:
    """Write the checkpoint `source` to `folder` in its family's `format` (zoo, hf, meta, gguf, ...), all or nothing.

    Weights keep their dtype unless `dtype` casts them; files hold at most `max_shard_size` (bytes or 5GB, 1GiB). As
    gguf it becomes one file, whose matrices are of this `type` (q8_0, q4_0, bf16, ...; None: as they are).
    An `adapter`, a folder of peft, is merged into the weights, and what rounding loses of it is told.
    With `dry_run` nothing is read but headers and nothing is written. Raises UsageError for a format that the family
    does not write, CheckpointError if a tensor or key has no place, holds NaN or infinity, or overflows `dtype`;
    ZooError if the folder is not zoo's to replace.
    """
    ledger = inspect(source, *overrides, family=family, allow=allow, allow_pickle=allow_pickle)
    return convert_ledger(
        ledger, folder, format=format, dtype=dtype, allow=allow, max_shard_size=max_shard_size, force=force,
        dry_run=dry_run, type=type,
        fit=None if adapter is None else fit_of(ledger, adapter, allow=allow, allow_pickle=allow_pickle),
    )  # fmt: skip


def convert_ledger(
    ledger: Ledger,
    folder: str | Path,
    *,
    format: str,
    dtype: str | torch.dtype | None = None,
    allow: Iterable[str] = (),
    max_shard_size: int | str = "5GB",
    force: bool = False,
    dry_run: bool = False,
    type: str | None = None,
    fit: AdapterFit | None = None,
) -> Conversion:
    """`convert` of a checkpoint whose headers are read already."""
    ledger.check()
    refuse_random(ledger)
    if fit is not None:
        fit.check()
    if format not in (formats := ["zoo", *ledger.family.formats]):
        raise UsageError(f"{ledger.family.name} has no {clean(format)!r} format", why=f"it has: {', '.join(formats)}")
    if type is not None and format != "gguf":
        raise UsageError(f"the type {clean(type)!r} is for GGUF files", hint="add format='gguf' (--to gguf)")
    shard_bytes = parse_bytes(max_shard_size)
    dtype = str(dtype).removeprefix("torch.") if dtype else None
    from zoo.checkpoint import saving
    from zoo.checkpoint.checks import check_tied, check_witnesses
    from zoo.checkpoint.target import Target

    tell(ledger)
    specs = our_specs(ledger, dtype)
    dtypes = {d for d, _ in specs.values()}
    config = replace(ledger.config, dtype=dtypes.pop()) if len(dtypes) == 1 else ledger.config
    saving.check_written(ledger.family, format, config)  # first: it says what the format cannot store
    steps = saving.export_steps(ledger.family, format, config, specs)
    foreign = saving.foreign_specs(steps, specs)
    target = Target(
        Path(folder), ledger.family, format, config, foreign,
        provenance(ledger, format, dtype, allow) | ({} if fit is None else {"adapter": str(fit.adapter.path)}),
        ledger=ledger, max_shard_size=shard_bytes, force=force, encoding=type,
    )  # fmt: skip
    done = Conversion(
        ledger, Path(folder), format, target.num_tensors, target.nbytes, dtype, target.notes, target.written
    )  # fmt: skip
    if dry_run:
        target.check()
        return done
    with ledger.checkpoint.open() as tensors:
        check_tied(ledger, tensors)
        check_witnesses(ledger, tensors)
        if fit is None:
            target.write(saving.exported(steps, reader(ledger, tensors, dtype)))
            return done
        from zoo.checkpoint.merged import Merging

        with Merging(ledger, fit, reader(ledger, tensors, None), specs) as merging:
            target.write(saving.exported(steps, merging))
    return replace(done, notes=(*done.notes, *fit.notes, merging.note()))


def our_specs(ledger: Ledger, dtype: str | None) -> dict[str, TensorSpec]:
    """dtype and shape of each of our weights, from the headers."""
    from zoo.models.construction import as_dtype

    wanted = str(as_dtype(dtype)).removeprefix("torch.") if dtype else None
    infos, actual = ledger.checkpoint.tensors, ledger.account.actual
    specs: dict[str, TensorSpec] = {}
    for step in ledger.account.steps:
        stored = _float(infos[actual[step.theirs[0]]].dtype)
        for name in step.ours:
            keeps = name in ledger.exact and wanted is not None and _bits(wanted) < _bits(stored)
            specs[name] = (stored if keeps else wanted or stored, ledger.shapes[name])
    return specs


def reader(ledger: Ledger, tensors: Mapping[str, Tensor], dtype: str | None) -> Callable[[str], Tensor]:
    """Reads one of our weights by name; the step it comes from is kept until another is asked for."""
    from zoo.checkpoint.placing import cast
    from zoo.models.construction import as_dtype

    owner: dict[str, Step] = {name: step for step in ledger.account.steps for name in step.ours}
    kept: dict[str, Tensor] = {}

    def read(name: str) -> Tensor:
        if name not in kept:
            kept.clear()
            step = owner[name]
            theirs = [tensors[ledger.account.actual[n]] for n in step.theirs]
            kept.update(zip(step.ours, step.op.load(theirs), strict=True))
        return cast(ledger, name, kept[name], as_dtype(dtype))

    return read


def provenance(ledger: Ledger, format: str, dtype: str | None, allow: Iterable[str]) -> dict[str, Any]:
    """Where the weights come from, for zoo.json."""
    from zoo.registry import installed

    plugin = installed().origin[ledger.family.name]
    return {
        **origin(ledger),
        "source_files": {file.name: sha256_of(file) for file in ledger.checkpoint.files},
        "family": ledger.family.name,
        "plugin": f"{plugin.distribution} {plugin.version}",
        "from": ledger.dialect,
        "format": format,
        "options": {"dtype": dtype, "allow": list(allow)},
    }


def refuse_random(ledger: Ledger) -> None:
    """Refuse to write a folder that lacks weights: what is drawn at random is no part of a checkpoint."""
    if ledger.random:
        what = "the files do not have it, and convert does not write random weights"
        hint = "zoo.load and zoo.save do, and record it in zoo.json"
        raise CheckpointError(ledger.source, some(ledger.random), what, hint=hint)


def _bits(dtype: str) -> int:
    import torch

    return torch.finfo(getattr(torch, dtype)).bits


def _float(dtype: str) -> str:
    """The dtype that a tensor stored as `dtype` is read as: block formats are dequantised to float32."""
    return dtype if dtype.startswith(("float", "bfloat")) else "float32"
