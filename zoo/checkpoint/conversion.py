"""Any format to any other without building the model: peak memory is the largest single group of tensors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.checkpoint.adapted import fit_of
from zoo.checkpoint.export_plan import ExportPlan, check_to_write
from zoo.checkpoint.inspection import Ledger, inspect
from zoo.checkpoint.notes import tell
from zoo.checkpoint.provenance import origin
from zoo.checkpoint.ways import Way
from zoo.errors import UsageError, clean
from zoo.registry.family import OURS
from zoo.units import parse_bytes

if TYPE_CHECKING:
    import torch

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


def check_format(ledger: Ledger, format: str) -> None:
    """Raise UsageError for a format that the family is not written in."""
    if format not in (formats := [*OURS, *ledger.family.formats]):
        what = f"{ledger.family.name} has no {clean(format)!r} format"
        raise UsageError(what, why=f"it has: {', '.join(formats)}", hint=_other_reading(ledger, format))


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
    check_to_write(ledger)
    if fit is not None:
        fit.check()
    check_format(ledger, format)
    if type is not None and format != "gguf":
        raise UsageError(f"the type {clean(type)!r} is for GGUF files", hint="add format='gguf' (--to gguf)")
    shard_bytes = parse_bytes(max_shard_size)
    from zoo.checkpoint.target import Target

    tell(ledger)
    to = Path(folder).expanduser()
    plan = ExportPlan.of(ledger, format, dtype, shard_bytes)
    with Way(plan, fit) as way:
        merged = {} if fit is None else {"adapter": str(fit.adapter.path)}
        target = Target(
            to, ledger.family, format, plan.config, plan.foreign,
            lambda: provenance(ledger, format, plan.dtype, allow, {} if dry_run else way.hashes()) | merged,
            ledger=ledger, max_shard_size=shard_bytes, force=force, encoding=type,
        )  # fmt: skip
        done = Conversion(
            ledger, to, format, target.num_tensors, target.nbytes, plan.dtype, target.notes, target.written
        )  # fmt: skip
        if dry_run:
            target.check()
            return done
        with way.tensors() as tensors:
            target.write(tensors)
        return replace(done, notes=(*done.notes, *way.notes))


def provenance(
    ledger: Ledger, format: str, dtype: str | None, allow: Iterable[str], hashes: Mapping[str, str]
) -> dict[str, Any]:
    """Where the weights come from, for zoo.json; `hashes` are the sha256 of its files."""
    from zoo.registry import installed

    plugin = installed().origin[ledger.family.name]
    return {
        **origin(ledger),
        "source_files": dict(hashes),
        "family": ledger.family.name,
        "plugin": f"{plugin.distribution} {plugin.version}",
        "from": ledger.dialect,
        "format": format,
        "options": {"dtype": dtype, "allow": list(allow)},
    }


def _other_reading(ledger: Ledger, format: str) -> str:
    """The family that reads a part of the same files and has the format; empty: none does."""
    from zoo.registry import installed

    kind = ledger.checkpoint.config.get("model_type")
    if ledger.checkpoint.dialect != "hf" or kind not in ledger.family.hf_types:
        return ""
    others = [f.name for f in installed().families.values() if format in f.formats and kind in f.hf_types]
    return f"family={others[0]} reads these files too, and has it" if others else ""
