"""A checkpoint written with its layers' matrices packed, rounded to nearest: a tensor at a time, all or nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.anatomy.config import NoAnatomy
from zoo.anatomy.quantisation import rounded_names
from zoo.checkpoint.conversion import provenance
from zoo.checkpoint.export_plan import ExportPlan, check_to_write
from zoo.checkpoint.inspection import Ledger, inspect
from zoo.checkpoint.notes import tell
from zoo.checkpoint.packing_plan import PackingPlan
from zoo.checkpoint.ways import Way
from zoo.errors import UnknownName, UsageError, clean, some
from zoo.units import ITEM_BYTES, parse_bytes
from zoo.weights.account import grouped
from zoo.weights.table import Step

if TYPE_CHECKING:
    import torch

    from zoo.checkpoint.forms import WrittenForm
    from zoo.files.safetensors_writer import TensorSpec

OF_LLAMA_CPP = ("q8_0", "q4_0")  # one GGUF file


@dataclass
class Quantised:
    """What was written where, and how far each weight is from what it was: |new - old| / |old|."""

    ledger: Ledger
    folder: Path
    form: str
    words: str
    nbytes: int  # of all tensors written
    packed_bytes: int
    numbers: int  # that are packed
    kept: list[str]  # matrices that keep their numbers, by their names in the folder
    errors: dict[str, float] = field(default_factory=dict)

    @property
    def mean(self) -> float:
        """The mean of the errors."""
        return sum(self.errors.values()) / max(1, len(self.errors))

    @property
    def worst(self) -> tuple[str, float]:
        """The weight that lost most, and how much."""
        return max(self.errors.items(), key=lambda item: item[1], default=("", 0.0))

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        told = {"mean_error": self.mean, "worst": self.worst[0], "worst_error": self.worst[1], "errors": self.errors}
        sizes = {"bytes": self.nbytes, "packed_bytes": self.packed_bytes, "packed_numbers": self.numbers}
        return {"folder": str(self.folder), "to": self.form, **sizes, "kept": self.kept, **told}


def quantize(
    source: str | Path,
    folder: str | Path,
    *overrides: str,
    form: str = "int8",
    group: int | None = None,
    dtype: str | torch.dtype | None = None,
    family: str | None = None,
    allow: Iterable[str] = (),
    allow_pickle: bool = False,
    max_shard_size: int | str = "5GB",
    force: bool = False,
    dry_run: bool = False,
) -> Quantised:
    """Write `source` to `folder` as transformers reads packed weights: `form` is int8, int4, fp8 or nf4.

    Matrices of attention, MLPs and experts are rounded to nearest, int4 in groups of `group` columns (32); embedding,
    head, router, norms and what reads images stay as they are, cast to `dtype` if given. As q8_0 or q4_0 `folder` is
    one GGUF file, in which embedding and head are rounded too, as llama.cpp has it. Raises UsageError for a form
    or a source that cannot be, UnknownName for a form that is not known, and what `convert` raises.
    """
    is_file, folder = form in OF_LLAMA_CPP, Path(folder).expanduser()
    chosen = None if is_file and group is None else _form(form, group)
    if chosen is not None and folder.suffix == ".gguf":
        what = f"{folder} is the name of a GGUF file, and {form} is written as a folder"
        raise UsageError(what, hint=f"give a name without .gguf, or --to {' or '.join(OF_LLAMA_CPP)}")
    ledger = inspect(source, *overrides, family=family, allow=allow, allow_pickle=allow_pickle)
    check_to_write(ledger)
    _refuse_packed(ledger)
    if chosen is None:
        from zoo.checkpoint.into_blocks import into_blocks

        return into_blocks(ledger, folder, form, dtype=dtype, allow=allow, force=force, dry_run=dry_run)
    shard_bytes = parse_bytes(max_shard_size)
    from zoo.checkpoint.target import companions, foreign_config, kept_settings
    from zoo.files.shards import bytes_of
    from zoo.files.write import check_target, write_folder

    tell(ledger)
    export = ExportPlan.of(ledger, "hf", dtype, shard_bytes)
    config, plain = export.config, export.foreign
    names = {n for n in _packable(ledger, export.steps, plain) if plain[n][1][1] % chosen.whole == 0}
    if not names:
        raise UsageError(f"no matrix has whole multiples of {chosen.whole} columns", hint="try --to int8")
    plan = PackingPlan(chosen, group or (chosen.groups or (0,))[0], names, plain)
    written = plan.specs()
    kept = [n for n, (_, shape) in plain.items() if len(shape) > 1 and n not in plan.names]
    done = Quantised(
        ledger, folder, form, chosen.words, sum(map(bytes_of, written.values())), plan.nbytes(written),
        sum(prod(plain[name][1]) for name in plan.names), kept,
    )  # fmt: skip
    if dry_run:
        check_target(folder, [ledger.checkpoint.path], force)
        return done
    ignored = dict.fromkeys([*(n.removesuffix(".weight") for n in kept if n.endswith(".weight")), "lm_head"])
    with Way(export, is_moved=False) as way, way.tensors() as tensors:
        write_folder(
            folder,
            written,
            plan.stream(tensors, done.errors),
            config=foreign_config(ledger.family, "hf", config)
            | kept_settings(ledger, "hf")
            | {"quantization_config": chosen.config([*ignored], plan.group, config.dtype)},
            extra=companions(ledger.checkpoint),
            provenance=lambda: (
                provenance(ledger, "hf", export.dtype, allow, way.hashes())
                | {"quantised_to": form, "group": plan.group or None}
            ),
            max_shard_size=shard_bytes,
            force=force,
            sources=[ledger.checkpoint.path],
        )
    return done


def _form(name: str, group: int | None) -> WrittenForm:
    if name in OF_LLAMA_CPP:
        why = f"a block of {name} has 32 columns"
        raise UsageError(f"group={group} is not a size of a group of {name}", why=why, hint="leave it out")
    from zoo.checkpoint.forms import FORMS

    if name not in FORMS:
        hint = "AWQ and GPTQ are read, and not written: zoo calibrates nothing" if name in ("awq", "gptq") else ""
        raise UnknownName(f"zoo rounds to no form {name!r}", name, [*FORMS, *OF_LLAMA_CPP], hint=hint)
    chosen = FORMS[name]
    if group is not None and group not in chosen.groups:
        sizes = f"{name} has groups of {some([str(size) for size in chosen.groups])}" if chosen.groups else ""
        raise UsageError(f"group={group} is not a size of a group of {name}", why=sizes or f"{name} has no groups")
    return chosen


def _packable(ledger: Ledger, steps: Iterable[Step], plain: Mapping[str, TensorSpec]) -> set[str]:
    """The foreign tensors that are packed: matrices [out, in] made of nothing but rows of what is rounded."""
    from zoo.weights.row_maps import row_maps

    try:
        ours = rounded_names(ledger.config.anatomy())
    except NoAnatomy:
        what = f"the family {ledger.family.name} does not say what its weights are for"
        raise UsageError(what, hint="describe its anatomy, or convert without packing") from None
    found: set[str] = set()
    for step in steps:
        shapes = [plain[name][1] for name in step.theirs]
        is_matrix = all(len(shape) == 2 and prod(shape) for shape in shapes)
        if not (is_matrix and ours.issuperset(step.ours) and all(name.endswith(".weight") for name in step.theirs)):
            continue
        if row_maps(~step.op, [ledger.shapes[name] for name in step.ours], shapes) is not None:
            found.update(step.theirs)
    if not found:
        what = f"no weight of a {ledger.family.name} can be packed in this format"
        why = "its matrices are stored with rows and columns exchanged, which no reader of packed weights expects"
        raise UsageError(what, why=why, hint="zoo.load(source, quantize='int8') rounds them in memory")
    return found


def _refuse_packed(ledger: Ledger) -> None:
    """Refuse a source that is rounded already: its numbers would be rounded twice."""
    packing = ledger.checkpoint.packing
    names = list(packing.matrices) if packing else []
    if ledger.dialect == "gguf":
        names = [name for name, info in ledger.checkpoint.tensors.items() if info.dtype not in ITEM_BYTES]
    if names:
        what = f"{ledger.source} is packed already: {some([clean(name) for name in grouped(names)])}"
        raise UsageError(what, why="rounding twice loses twice", hint="quantise the original in 16 or 32 bits")
