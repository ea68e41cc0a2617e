"""From codes and scales to numbers: what the packed formats have in common. Torch is imported when a number is read.

R rows of a band, C columns, G groups of columns that share a scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from zoo.files.packed.record import PackedMatrix

if TYPE_CHECKING:
    from torch import Tensor

E2M1 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)  # 4-bit floats without sign, by code (OCP MX 1.0, 5.3.3)


def fields(words: Tensor, bits: int) -> Tensor:
    """The codes of `bits` each in rows of words, the lowest bits first, as uint8: [R, W] to [R, 8 * bytes / bits]."""
    import torch

    raw = words.contiguous().view(torch.uint8)
    if bits == 8:
        return raw
    if bits in (2, 4):
        packed, width = raw, 8
    else:  # as many bytes as bits hold eight codes
        run = raw.reshape(raw.shape[0], -1, bits).long()
        packed, width = (run << torch.arange(0, 8 * bits, 8, device=run.device)).sum(-1), 8 * bits
    shifts = torch.arange(0, width, bits, dtype=packed.dtype, device=packed.device)
    return (packed[..., None] >> shifts & (1 << bits) - 1).to(torch.uint8).flatten(1)


def fp4(codes: Tensor) -> Tensor:
    """The 4-bit floats that `codes` [R, C] stand for; the fourth bit is the sign. In float32."""
    import torch

    return torch.tensor([*E2M1, *(-value for value in E2M1)], device=codes.device)[codes.long()]


def powers(matrix: PackedMatrix, exponents: Tensor, *, role: str = "scales") -> Tensor:
    """The scales 2^(e - 127) of bytes e, in float32. Raises CheckpointError for 255: NaN (OCP MX 1.0, 5.4.1)."""
    import torch

    exponents = exponents.view(torch.uint8)
    if bool((exponents == 255).any()):
        raise matrix.refuse(role, "holds NaN: the weights that it scales mean nothing")
    bits = exponents.int() << 23  # where float32 has its exponent; 2^-127 is below that, half of the smallest of them
    return torch.where(exponents == 0, 1 << 22, bits).view(torch.float32)


def grid(scales: Tensor) -> Tensor:
    """Scales as rows and columns, whether they are one number, one of each row, or of each group. [., .]"""
    return scales if scales.ndim > 1 else scales.reshape(-1, 1)


def rows_of(scales: Tensor, rows: slice, step: int | None) -> Tensor:
    """The row of `scales` for each of `rows`, where `step` rows share one; None: all share the first. [R or 1, .]"""
    if step is None:
        return scales[:1]
    if step == 1:
        return scales[rows]
    first = rows.start // step
    spread = scales[first : -(-rows.stop // step)].repeat_interleave(step, 0)
    return spread[rows.start - first * step :][: rows.stop - rows.start]


def across(scales: Tensor, columns: int, step: int | None) -> Tensor:
    """`scales` [R, G] for each of `columns`, where `step` columns share one; None: all share it. [R, C or 1]"""
    if step is None:
        return scales[:, :1]
    return scales if step == 1 else scales.repeat_interleave(step, 1)[:, :columns]


def spread(matrix: PackedMatrix, scales: Tensor, rows: slice, *, role: str = "scales") -> Tensor:
    """The scale of each number of a band in float32, [R or 1, C or 1], checked."""
    down, right = matrix.encoding.group
    band = rows_of(grid(scales), rows, down).float()
    check_finite(matrix, role, band)
    return across(band, matrix.shape[1], right)


def check_finite(matrix: PackedMatrix, role: str, scales: Tensor) -> None:
    """Refuse scales, or offsets, that are not numbers. Raises CheckpointError."""
    if not bool(scales.isfinite().all()):
        raise matrix.refuse(role, "holds NaN or infinity: the weights that it scales mean nothing")


def product(matrix: PackedMatrix, values: Tensor, scales: Tensor, *, role: str = "scales") -> Tensor:
    """`values` times `scales`, refusing a scale of zero over numbers that are not: it would lose them."""
    if bool((is_zero := scales == 0).any()) and bool((is_zero & (values != 0)).any()):
        raise matrix.refuse(role, "is 0 for weights that are stored as other numbers: they would be lost")
    return values * scales


def by_group(matrix: PackedMatrix, order: Tensor, groups: int) -> Tensor:
    """The group of each column by the list `order`. Raises CheckpointError for one that is not there."""
    if order.numel() and not 0 <= int(order.min()) <= int(order.max()) < groups:
        found = next(int(i) for i in (order.min(), order.max()) if not 0 <= int(i) < groups)
        raise matrix.refuse("order", f"names group {found}, of {groups}")
    return order.long()


def integers(
    matrix: PackedMatrix, parts: Mapping[str, Tensor], rows: slice, *, codes: Tensor, zeros: Tensor | float
) -> Tensor:
    """(codes [R, C] - zeros [R, G]) * scales [R, G], rounded once to the type of the scales. [R, C]"""
    down, right = matrix.encoding.group
    scales = grid(parts["scales"])
    near = rows_of(scales, rows, down).float()
    check_finite(matrix, "scales", near)
    if matrix.encoding.ordered:
        order = by_group(matrix, parts["order"], near.shape[1])
        factors, offsets = near[:, order], zeros if isinstance(zeros, int | float) else zeros[:, order]
    else:
        columns = matrix.shape[1]
        factors = across(near, columns, right)
        offsets = zeros if isinstance(zeros, int | float) else across(zeros, columns, right)
    values = codes.float() - (offsets if isinstance(offsets, int | float) else offsets.float())
    return product(matrix, values, factors).to(scales.dtype)


def band_of_floats(matrix: PackedMatrix, parts: Mapping[str, Tensor], rows: slice) -> Tensor:
    """8-bit floats times their scales, in float32. [R, C]"""
    return product(matrix, parts["codes"][rows].float(), spread(matrix, parts["scales"], rows))
