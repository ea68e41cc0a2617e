"""Which weights are rounded to fewer bits, and what they weigh then, by arithmetic. Needs no torch.

Matrices of attention, MLPs, experts and recurrent layers are rounded. In 8 bits so is the head, with the table of
tokens where the two are one matrix. All else keeps its numbers: it is small, or what it decides is easily spoilt.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

from zoo.anatomy.builder import Anatomy
from zoo.anatomy.records import Shape, Weight
from zoo.errors import UnknownName
from zoo.units import ITEM_BYTES

ROUNDED = ("attention", "mixer", "mlp", "experts")
SCALE_BYTES = 2  # of a scale or an offset, in bfloat16


@dataclass(frozen=True)
class Quantisation:
    """How a matrix [rows, columns] is rounded: what it is called, bits of a code, columns that share a scale."""

    name: str
    bits: int
    group: int | None = None  # None: the whole row
    has_offset: bool = False  # beside the scale, in the same type
    takes_head: bool = False  # the matrix that gives the logits is rounded too

    def nbytes(self, shape: Shape) -> int:
        """Bytes of codes and scales of a matrix, or of a stack of them."""
        rows, columns = prod(shape[:-1]), shape[-1]
        groups = 1 if self.group is None else -(-columns // self.group)
        return rows * (-(-columns * self.bits // 8) + groups * SCALE_BYTES * (1 + self.has_offset))

    @property
    def words(self) -> str:
        """What it is, for people."""
        shared = "a scale per row" if self.group is None else f"a scale and an offset per {self.group} columns"
        return f"{self.name}: {self.bits} bits, {shared}"


INT8 = Quantisation("int8", 8, takes_head=True)
_INT4 = [Quantisation("int4" if size == 32 else f"int4-{size}", 4, size, has_offset=True) for size in (32, 64, 128)]
QUANTISATIONS = {found.name: found for found in (INT8, *_INT4)} | {"int4-32": _INT4[0]}


def quantisation(name: str) -> Quantisation:
    """The quantisation of that name. Raises UnknownName for one that there is not."""
    if name not in QUANTISATIONS:
        raise UnknownName(f"quantize={name!r} is not known", name, QUANTISATIONS)
    return QUANTISATIONS[name]


def is_rounded(weight: Weight, *, takes_head: bool = False) -> bool:
    """Whether a weight is one of those that are rounded."""
    if weight.gives_logits:
        return takes_head
    ranks = (2, 3) if weight.role == "experts" else (2,)
    return weight.is_matmul and not weight.is_exact and weight.role in ROUNDED and len(weight.shape) in ranks


def rounded_names(anatomy: Anatomy, *, takes_head: bool = False) -> set[str]:
    """The names of all weights that are rounded."""
    return {name for w in anatomy.weights if is_rounded(w, takes_head=takes_head) for name in w.names()}


def quantised_bytes(weights: Iterable[Weight], how: Quantisation, dtype: str) -> tuple[int, int]:
    """Bytes of the weights that are rounded, and of the others, which stay in `dtype`."""
    packed = kept = 0
    for weight in weights:
        count = 1 if weight.layers is None else len(weight.layers)
        if is_rounded(weight, takes_head=how.takes_head):
            packed += count * how.nbytes(weight.shape)
        else:
            kept += weight.numel * ITEM_BYTES[dtype]
    return packed, kept
