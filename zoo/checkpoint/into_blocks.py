"""A checkpoint as one GGUF file of rounded blocks, and how far each weight in it is from what it was."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from zoo.checkpoint.conversion import Conversion, check_format, convert_ledger
from zoo.checkpoint.export_plan import ExportPlan, reader
from zoo.checkpoint.quantising import Quantised
from zoo.errors import UsageError
from zoo.files.gguf.encoding import BLOCK, BLOCKS, bytes_of_type

if TYPE_CHECKING:
    from zoo.checkpoint.inspection import Ledger


def into_blocks(ledger: Ledger, file: Any, form: str, **options: Any) -> Quantised:
    """Write `file` as `zoo.convert` does (`options` are its), and read it back for the errors."""
    check_format(ledger, "gguf")
    if not any(len(shape) > 1 and shape[-1] % BLOCK == 0 for shape in ledger.shapes.values()):
        hint = "zoo convert --to gguf --type bf16 writes it unpacked"
        raise UsageError(f"no matrix has whole multiples of {BLOCK} columns, which a block of {form} has", hint=hint)
    done, kind = convert_ledger(ledger, file, format="gguf", type=form, **options), form.upper()
    packed = {name: shape for name, (found, shape) in done.tensors.items() if found == kind}
    kept = [name for name, (_, shape) in done.tensors.items() if len(shape) > 1 and name not in packed]
    return Quantised(
        ledger, done.folder, form, f"GGUF {kind}, {BLOCK} columns in {BLOCKS[kind]} bytes", done.nbytes,
        sum(bytes_of_type(kind, shape) for shape in packed.values()), sum(map(prod, packed.values())), kept,
        {} if options["dry_run"] else _errors(done),
    )  # fmt: skip


def _errors(done: Conversion) -> dict[str, float]:
    """|new - old| / |old| of every tensor that was rounded, by its name in the file."""
    from zoo.checkpoint import saving
    from zoo.files.checkpoint import open_checkpoint

    ledger, found = done.ledger, dict[str, float]()
    steps = ExportPlan.of(ledger, "gguf", done.dtype).steps
    rounded = [step for step in steps if any(done.tensors[name][0] in BLOCKS for name in step.theirs)]
    with ledger.checkpoint.open() as before, open_checkpoint(done.folder).open() as after:
        for name, old in saving.exported(rounded, reader(ledger, before, done.dtype)):
            kind, shape = done.tensors[name]
            if kind in BLOCKS:
                old = old.float().reshape(shape)
                found[name] = (after[name] - old).norm().item() / max(old.norm().item(), 1e-30)
    return found
