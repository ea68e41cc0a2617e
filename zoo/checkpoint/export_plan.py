"""A checkpoint on its way into another: the tables that it is written by, and its tensors, checked as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from zoo.anatomy.config import ModelConfig
from zoo.checkpoint.inspection import Ledger
from zoo.errors import CheckpointError, some
from zoo.weights.table import Step

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from zoo.files.safetensors_writer import TensorSpec


@dataclass(frozen=True)
class ExportPlan:
    """Of a settled ledger: the config as it is written, the steps of the target's table, and the tensors they give."""

    ledger: Ledger
    format: str
    dtype: str | None  # that weights are cast to; None: they keep theirs
    config: ModelConfig
    steps: list[Step]
    ours: Mapping[str, TensorSpec]  # type and shape of each of our weights as it is written
    foreign: Mapping[str, TensorSpec]  # and of each of theirs

    @classmethod
    def of(cls, ledger: Ledger, format: str, dtype: str | torch.dtype | None) -> ExportPlan:
        """The plan of a ledger. Raises UsageError for what the format cannot store."""
        from zoo.checkpoint import saving

        dtype = str(dtype).removeprefix("torch.") if dtype else None
        specs = our_specs(ledger, dtype)
        dtypes = {found for found, _ in specs.values()}
        config = replace(ledger.config, dtype=dtypes.pop()) if len(dtypes) == 1 else ledger.config
        saving.check_written(ledger.family, format, config)  # first: it says what the format cannot store
        steps = saving.export_steps(ledger.family, format, config, specs)
        return cls(ledger, format, dtype, config, steps, specs, saving.foreign_specs(steps, specs))

    @contextmanager
    def opened(self) -> Iterator[Mapping[str, Tensor]]:
        """The files' tensors, whose copies and witnesses were checked."""
        from zoo.checkpoint.checks import check_tied, check_witnesses

        with self.ledger.checkpoint.open() as held:
            check_tied(self.ledger, held)
            check_witnesses(self.ledger, held)
            yield held

    @contextmanager
    def tensors(self) -> Iterator[Iterator[tuple[str, Tensor]]]:
        """The tensors to be written, one after the other."""
        from zoo.checkpoint import saving

        with self.opened() as held:
            yield saving.exported(self.steps, reader(self.ledger, held, self.dtype))


def check_to_write(ledger: Ledger) -> None:
    """Refuse what is not all accounted for, and a folder that lacks weights: what is random is no part of it."""
    ledger.check()
    if ledger.random:
        what = "the files do not have it, and convert does not write random weights"
        hint = "zoo.load and zoo.save do, and record it in zoo.json"
        raise CheckpointError(ledger.source, some(ledger.random), what, hint=hint)


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


def _bits(dtype: str) -> int:
    import torch

    return torch.finfo(getattr(torch, dtype)).bits


def _float(dtype: str) -> str:
    """The dtype that a tensor stored as `dtype` is read as: block formats are dequantised to float32."""
    return dtype if dtype.startswith(("float", "bfloat")) else "float32"
