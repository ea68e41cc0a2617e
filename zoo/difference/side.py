"""One of the two checkpoints of a difference: its weights by our names, as they are stored and as they are read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.anatomy.config import NoAnatomy
from zoo.anatomy.quantisation import Quantisation, quantisation, rounded_names
from zoo.anatomy.records import Shape
from zoo.checkpoint.inspection import Ledger, inspect
from zoo.checkpoint.notes import tell
from zoo.difference.grid import Grid, grid_of, grid_of_dtype
from zoo.errors import UsageError, clean
from zoo.presets.named import named
from zoo.weights.table import Step

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.files.packed import PackedMatrix


@dataclass
class WeightSource:
    """A checkpoint, and to what the matrices of its layers are rounded once they are read."""

    name: str  # safe to print
    ledger: Ledger
    rounding: Quantisation | None = None

    @classmethod
    def of(cls, what: str | Path, allow: tuple[str, ...], allow_pickle: bool) -> WeightSource:
        """What words name: a source, overrides, its family, and `quantize=int8`. Raises CheckpointError, UsageError."""
        model = named(what)
        ledger = inspect(model.name, *model.overrides, family=model.family, allow=allow, allow_pickle=allow_pickle)
        ledger.check()
        tell(ledger)
        return cls(clean(what, 60), ledger, None if model.quantize is None else quantisation(model.quantize))

    @cached_property
    def shapes(self) -> dict[str, Shape]:
        """Our weights that the files hold, in the order of the table."""
        return {name: self.ledger.shapes[name] for step in self.ledger.account.steps for name in step.ours}

    @cached_property
    def bits(self) -> float:
        """Bits of a number, on average of all weights."""
        numbers = sum(map(prod, self.shapes.values()))
        nbytes = float(self.ledger.nbytes)
        if self.rounding is not None:
            shares = [prod(self.shapes[name]) for name in self._rounded if name in self.shapes]
            nbytes += sum(shares) * (self.rounding.bits / 8 - nbytes / max(1, numbers))
        return 8 * nbytes / max(1, numbers)

    @property
    def dtypes(self) -> dict[str, int]:
        """The types of the files' tensors; what is rounded is said so."""
        return self.ledger.dtypes if self.rounding is None else {**self.ledger.dtypes, self.rounding.name: 0}

    def read(self, tensors: Mapping[str, Tensor], steps: Iterable[Step], asked: Mapping[str, str]) -> dict[str, Tensor]:
        """Our weights that some steps yield; steps that yield none which is asked for are not read."""
        found: dict[str, Tensor] = {}
        for step in steps:
            if any(name in asked for name in step.ours):
                theirs = [tensors[self.ledger.account.actual[name]] for name in step.theirs]
                found |= zip(step.ours, step.op.load(theirs), strict=True)
        return {name: self._as_rounded(name, tensor) for name, tensor in found.items() if name in asked}

    def stored(self, steps: Iterable[Step], name: str) -> str:
        """The dtypes of the files' tensors that a weight is made of."""
        if name in self._rounded and self.rounding is not None:
            return self.rounding.name
        infos, actual = self.ledger.checkpoint.tensors, self.ledger.account.actual
        kinds = {infos[actual[n]].dtype for step in steps if name in step.ours for n in step.theirs}
        return "+".join(sorted(kinds))

    def grid(self, steps: Iterable[Step], name: str) -> Grid | None:
        """What numbers a weight can have as it is stored."""
        if name in self._rounded and (how := self.rounding) is not None:
            shared = "" if how.group is None else f" in groups of {how.group}"
            return Grid(f"{how.bits} bits{shared}", how.bits, how.group)
        step = next(step for step in steps if name in step.ours)
        names = [self.ledger.account.actual[n] for n in step.theirs]
        packed = [grid_of(self._packed[n].encoding) for n in names if n in self._packed]
        if not packed:
            return grid_of_dtype(self.ledger.checkpoint.tensors[names[0]].dtype)
        coarsest = min(packed, key=lambda grid: grid.bits)
        return coarsest if self._moves_rows(step) else replace(coarsest, group=None)

    def _as_rounded(self, name: str, tensor: Tensor) -> Tensor:
        if self.rounding is None or name not in self._rounded or tensor.ndim < 2:
            return tensor
        import torch

        from zoo.models.rounding import rounded

        scheme, parts = rounded(tensor.flatten(0, -2), self.rounding)
        return scheme.dequantise(parts, slice(None)).reshape(tensor.shape).to(torch.float32)

    def _moves_rows(self, step: Step) -> bool:
        from zoo.weights.row_maps import row_maps

        infos, actual = self.ledger.checkpoint.tensors, self.ledger.account.actual
        theirs, ours = [infos[actual[n]].shape for n in step.theirs], [self.ledger.shapes[n] for n in step.ours]
        is_wide = len({shape[-1] for shape in (*theirs, *ours) if shape}) == 1
        return is_wide and row_maps(step.op, theirs, ours) is not None

    @cached_property
    def _rounded(self) -> set[str]:
        if self.rounding is None:
            return set()
        try:
            return rounded_names(self.ledger.config.anatomy(), takes_head=self.rounding.takes_head)
        except NoAnatomy:
            what = f"quantize={self.rounding.name} needs to know what the weights of {self.name} are for"
            raise UsageError(what, why="the family describes no anatomy") from None

    @cached_property
    def _packed(self) -> Mapping[str, PackedMatrix]:
        from zoo.files.packed.gguf_blocks import blocks_of

        checkpoint = self.ledger.checkpoint
        packing = blocks_of(checkpoint.tensors) if checkpoint.dialect == "gguf" else checkpoint.packing
        return packing.matrices if packing else {}


def coarser(a: WeightSource, b: WeightSource) -> str:
    """Which of the two holds its numbers in so many fewer bits that it may be the other rounded: A, B or neither."""
    less = min(a.bits, b.bits) < 0.75 * max(a.bits, b.bits)
    return ("A" if a.bits < b.bits else "B") if less else ""
