"""A checkpoint on its way into another: the tables that it is written by, and its tensors, checked as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING

from zoo.anatomy.config import ModelConfig
from zoo.checkpoint.announced import check_written, export_steps, foreign_specs
from zoo.checkpoint.inspection import Ledger
from zoo.errors import CheckpointError, some
from zoo.files.bits import PATTERNS
from zoo.files.safetensors_writer import TensorSpec
from zoo.files.shards import MAX_SHARD_SIZE, as_they_lie
from zoo.files.tensor_info import TensorInfo
from zoo.registry.family import OURS
from zoo.units import ITEM_BYTES, SHORT_NAMES
from zoo.weights.table import Step

if TYPE_CHECKING:
    import torch
    from torch import Tensor


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
    max_shard_size: int = MAX_SHARD_SIZE  # bytes of tensors in a file

    @classmethod
    def of(
        cls, ledger: Ledger, format: str, dtype: str | torch.dtype | None, max_shard_size: int = MAX_SHARD_SIZE
    ) -> ExportPlan:
        """The plan of a ledger. Raises UsageError for what the format cannot store."""
        dtype = str(dtype).removeprefix("torch.") if dtype else None
        specs = our_specs(ledger, dtype)
        dtypes = {found for found, _ in specs.values()}
        config = replace(ledger.config, dtype=dtypes.pop()) if len(dtypes) == 1 else ledger.config
        check_written(ledger.family, format, config)  # first: it says what the format cannot store
        steps = export_steps(ledger.family, format, config, specs)
        return cls(ledger, format, dtype, config, steps, specs, foreign_specs(steps, specs), max_shard_size)

    @property
    def is_safetensors(self) -> bool:
        """Whether the weights are written to files of safetensors."""
        if self.format in OURS or self.format == "gguf":
            return self.format == "zoo"
        return self.ledger.family.dialect(self.format).files.pickle is None

    @contextmanager
    def opened(self) -> Iterator[Mapping[str, Tensor]]:
        """The files' tensors, whose copies and witnesses were checked."""
        from zoo.checkpoint.checks import check_tied, check_witnesses

        with self.ledger.checkpoint.open() as held:
            check_tied(self.ledger, held)
            check_witnesses(self.ledger, held)
            yield held

    def moves(self) -> dict[str, TensorInfo] | None:
        """Where each tensor to be written lies in the files as it will be, byte for byte; None where one does not.

        In the order of the files that are written, so that they can be hashed meanwhile.
        """
        infos, actual = self.ledger.checkpoint.tensors, self.ledger.account.actual
        steps = [*self.ledger.account.steps, *self.steps]
        if self.ledger.checkpoint.packing is not None or not all(step.op.keeps_bytes for step in steps):
            return None
        of_ours = {
            ours: infos[actual[theirs]]
            for step in self.ledger.account.steps
            for ours, theirs in zip(step.ours, step.theirs, strict=True)
        }
        found = {
            theirs: of_ours[ours] for step in self.steps for ours, theirs in zip(step.ours, step.theirs, strict=True)
        }
        is_all = all(is_as_written(info, self.foreign[name]) for name, info in found.items())
        return {name: found[name] for name in self._order()} if is_all else None

    @contextmanager
    def tensors(self) -> Iterator[Iterator[tuple[str, Tensor]]]:
        """The tensors to be written, one after the other: in safetensors as they will lie there, as far as they can."""
        from zoo.checkpoint import saving  # torch

        with self.opened() as held:
            steps = self._steps_in_order() if self.is_safetensors else self.steps
            yield saving.exported(steps, reader(self.ledger, held, self.dtype))

    def _order(self) -> list[str]:
        return as_they_lie(self.foreign, self.max_shard_size)

    def _steps_in_order(self) -> list[Step]:
        """The steps as what they give will lie, but those together that are made of one step of the source."""
        places = {name: place for place, name in enumerate(self._order())}
        sources = {name: number for number, step in enumerate(self.ledger.account.steps) for name in step.ours}
        first: dict[int, int] = {}
        for step in self.steps:
            source, place = sources[step.ours[0]], min(places[name] for name in step.theirs)
            first[source] = min(place, first.get(source, place))
        return sorted(
            self.steps, key=lambda step: (first[sources[step.ours[0]]], min(places[name] for name in step.theirs))
        )


def is_as_written(info: TensorInfo, spec: TensorSpec) -> bool:
    """Whether a tensor lies in its file as one run of the numbers that are to be written."""
    dtype, shape = spec
    return info.offset is not None and info.dtype == dtype and info.dtype in PATTERNS and info.numel == prod(shape)


def check_to_write(ledger: Ledger) -> None:
    """Refuse what is not all accounted for, and a folder that lacks weights: what is random is no part of it."""
    ledger.check()
    if ledger.random:
        what = "the files do not have it, and convert does not write random weights"
        hint = "zoo.load and zoo.save do, and record it in zoo.json"
        raise CheckpointError(ledger.source, some(ledger.random), what, hint=hint)


def our_specs(ledger: Ledger, dtype: str | None) -> dict[str, TensorSpec]:
    """dtype and shape of each of our weights, from the headers."""
    wanted = _dtype(dtype) if dtype else None
    infos, actual = ledger.checkpoint.tensors, ledger.account.actual
    specs: dict[str, TensorSpec] = {}
    for step in ledger.account.steps:
        stored = _float(infos[actual[step.theirs[0]]].dtype)
        for name in step.ours:
            keeps = name in ledger.exact and wanted is not None and ITEM_BYTES[wanted] < ITEM_BYTES[stored]
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


def _dtype(name: str) -> str:
    """A type as torch spells it. Raises UsageError for one that nothing is computed in; torch is asked of rare ones."""
    if (known := SHORT_NAMES.get(name, name)) in SHORT_NAMES.values():
        return known
    from zoo.models.construction import as_dtype

    return str(as_dtype(name)).removeprefix("torch.")


def _float(dtype: str) -> str:
    """The dtype that a tensor stored as `dtype` is read as: block formats are dequantised to float32."""
    return dtype if dtype.startswith(("float", "bfloat")) else "float32"
