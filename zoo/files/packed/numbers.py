"""From codes and scales to numbers: what the packed formats have in common. Torch is imported when a number is read.

R rows of a band, C columns, groups of g columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from zoo.files.packed.record import PackedMatrix

if TYPE_CHECKING:
    from torch import Tensor

E2M1 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)  # 4-bit floats without sign, by code (OCP MX 1.0, 5.3.3)


def rows_of(scales: Tensor, rows: slice, step: int | None) -> Tensor:
    """The row of `scales` for each of `rows`, where `step` rows share one; None: all share the first. [R or 1, .]"""
    if step is None:
        return scales[:1]
    if step == 1:
        return scales[rows]
    first = rows.start // step
    return scales[first : -(-rows.stop // step)].repeat_interleave(step, 0)[rows.start - first * step :][
        : rows.stop - rows.start
    ]


def across(scales: Tensor, columns: int, step: int | None) -> Tensor:
    """`scales` [R, G] for each of `columns`, where `step` columns share one; None: all share it. [R, C or 1]"""
    if step is None or scales.shape[1] == 1:
        return scales[:, :1]
    return scales if step == 1 else scales.repeat_interleave(step, 1)[:, :columns]


def spread(matrix: PackedMatrix, scales: Tensor, rows: slice, *, role: str = "scales") -> Tensor:
    """The scale of each number of a band in float32, [R or 1, C or 1], checked."""
    down, right = matrix.encoding.group
    band = rows_of(scales, rows, down)
    check_scales(matrix, role, band)
    return across(band.float(), matrix.shape[1], right)


def check_scales(matrix: PackedMatrix, role: str, scales: Tensor) -> None:
    """Refuse scales, or offsets, that are not numbers. Raises CheckpointError."""
    if not scales.float().isfinite().all():
        raise matrix.refuse(role, "holds NaN or infinity: the weights that it scales mean nothing")


def product(matrix: PackedMatrix, values: Tensor, scales: Tensor, *, role: str = "scales") -> Tensor:
    """`values` times `scales`, refusing a scale of zero over numbers that are not: it would lose them."""
    if bool((is_zero := scales == 0).any()) and bool((is_zero & (values != 0)).any()):
        raise matrix.refuse(role, "is 0 for weights that are stored as other numbers: they would be lost")
    return values * scales


def band_of_floats(matrix: PackedMatrix, parts: Mapping[str, Tensor], rows: slice) -> Tensor:
    """8-bit floats times their scales, in float32 and rounded once. [R, C]"""
    return product(matrix, parts["codes"][rows].float(), spread(matrix, parts["scales"], rows))
