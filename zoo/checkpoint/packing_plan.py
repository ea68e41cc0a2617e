"""Which tensors of a folder are packed, and what takes their places."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from zoo.errors import UsageError, clean
from zoo.units import ITEM_BYTES

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.checkpoint.forms import WrittenForm
    from zoo.files.safetensors_writer import TensorSpec


@dataclass(frozen=True)
class PackingPlan:
    """Which foreign tensors are packed, and what takes their places."""

    form: WrittenForm
    group: int
    names: set[str]
    plain: Mapping[str, TensorSpec]

    def __post_init__(self) -> None:
        if not self.form.groups:
            return
        for name in sorted(self.names):
            if (columns := self.plain[name][1][1]) % self.group:
                what = f"{clean(name)} has {columns} columns, which are not whole groups of {self.group}"
                raise UsageError(what, why=f"{self.form.name} has a scale per group", hint="try --to int8")

    def specs(self) -> dict[str, TensorSpec]:
        """Type and shape of every tensor to be written."""
        found: dict[str, TensorSpec] = {}
        for name, (dtype, shape) in self.plain.items():
            if name not in self.names:
                found[name] = (dtype, shape)
                continue
            module = name.removesuffix("weight")
            found |= {f"{module}{part}": spec for part, spec in self.form.specs(shape, dtype, self.group).items()}
        return found

    def nbytes(self, written: Mapping[str, TensorSpec]) -> int:
        """Bytes of the packed weights."""
        new = (spec for name, spec in written.items() if name not in self.plain or name in self.names)
        return sum(prod(shape) * ITEM_BYTES[dtype] for dtype, shape in new)

    def stream(self, tensors: Iterator[tuple[str, Tensor]], errors: dict[str, float]) -> Iterator[tuple[str, Tensor]]:
        """The tensors to be written, one after the other; the error of each goes into `errors`."""
        for name, tensor in tensors:
            if name not in self.names:
                yield name, tensor
                continue
            packed = self.form.pack(tensor, self.group)
            lost = (packed.numbers - tensor.float()).norm().item()
            errors[name] = lost / max(tensor.float().norm().item(), 1e-30)
            module = name.removesuffix("weight")
            yield from ((f"{module}{part}", value) for part, value in packed.parts.items())
