"""The tensors of an open checkpoint with its packed weights unpacked, one at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from zoo.files.packed.record import PackedMatrix, Packing

if TYPE_CHECKING:
    from torch import Tensor


def parts_of(matrix: PackedMatrix, raw: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The parts of a matrix by role, as they lie in the file: mapped, not copied."""
    return {role: raw[info.name] for role, info in matrix.parts.items()}


class Unpacking:
    """Reads tensors by name: a packed matrix as its numbers, any other from `raw` as it is."""

    def __init__(self, raw: Mapping[str, Tensor], packing: Packing) -> None:
        self._raw, self._packing = raw, packing

    def __call__(self, name: str) -> Tensor:
        matrix = self._packing.matrices.get(name)
        return self._raw[name] if matrix is None else matrix.unpack(parts_of(matrix, self._raw))
