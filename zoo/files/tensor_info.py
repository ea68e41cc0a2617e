"""What a checkpoint's header says of one tensor. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path

from zoo.anatomy.records import Shape
from zoo.errors import CheckpointError

MAX_RANK = 32
MAX_DIM = 1 << 48


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """A tensor's name, type and shape, and where its bytes lie."""

    name: str
    dtype: str  # as torch spells it, or the name of a GGUF quantisation (Q4_K, ...)
    shape: Shape
    file: Path
    nbytes: int  # of this tensor alone
    offset: int | None  # bytes from the start of the file; None: not there as one run of bytes
    shared: str = ""  # the same for tensors that a file has in one place, as a tied head; of others empty

    @property
    def numel(self) -> int:
        """Elements."""
        return prod(self.shape)


def checked_shape(dims: object, file: Path, name: str) -> Shape:
    """`dims` as a shape. Raises CheckpointError unless it is a list of at most 32 sizes below 2^48."""
    if not isinstance(dims, list | tuple) or len(dims) > MAX_RANK:
        raise CheckpointError(file, name, f"its shape is not a list of at most {MAX_RANK} sizes")
    for dim in dims:
        if type(dim) is not int or not 0 <= dim < MAX_DIM:
            raise CheckpointError(file, name, f"its shape has {dim!r:.40}, which is not a size from 0 to 2^48")
    if 0 in dims and prod(dim or 1 for dim in dims) >= 1 << 59:
        raise CheckpointError(file, name, "the product of its sizes, without zeros, is more than torch can count")
    return tuple(dims)
