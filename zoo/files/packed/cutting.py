"""A part of a packed matrix is a packed matrix: which rows and columns each tensor of a format counts. Needs no torch.

A word holds several codes, a scale belongs to a group: a part begins and ends where all tensors of its matrix can be
cut, and says where within it the rows and columns lie that were asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import gcd, lcm
from typing import TYPE_CHECKING, NamedTuple

from zoo.files.packed.record import PackedMatrix
from zoo.files.tensor_info import TensorInfo
from zoo.units import ITEM_BYTES

if TYPE_CHECKING:
    from torch import Tensor

ROWS, COLUMNS = 0, 1
LINES = ("bitsandbytes", "hqq")  # formats that have a matrix as one line of codes, in blocks that rows do not end
SHARED = ("scales", "zeros", "offsets")  # roles of what belongs to a group
Bounds = tuple[int, int]  # the first, and the one behind the last


class Along(NamedTuple):
    """What one dimension of a tensor counts: so many entries for so many rows, or columns, of the matrix."""

    of: int  # ROWS or COLUMNS
    lines: int
    entries: int = 1

    def bounds(self, lines: Bounds) -> Bounds:
        """The entries of some rows or columns."""
        return lines[0] * self.entries // self.lines, -(-lines[1] * self.entries // self.lines)


Lay = Mapping[str, tuple[Along | None, ...]]  # role -> for each dimension; None: it is whole in every part


class CutMatrix(NamedTuple):
    """A part of a packed matrix, its tensors, and where in it the rows and columns lie that were asked for."""

    matrix: PackedMatrix
    parts: dict[str, Tensor]
    rows: Bounds
    columns: Bounds


def can_cut(matrix: PackedMatrix) -> bool:
    """Whether the tensors of a matrix can be cut as its rows and columns are."""
    e = matrix.encoding
    return e.format not in LINES or (e.format == "bitsandbytes" and e.numbers == "int")


def border(matrix: PackedMatrix, of: int = COLUMNS) -> int:
    """Every how many columns, or rows, a part can end: where a word and a group do."""
    every = [along.lines for lay in lay_of(matrix).values() for along in lay if along and along.of == of]
    return lcm(*every) if every else 1


def cut(matrix: PackedMatrix, parts: Mapping[str, Tensor], rows: Bounds, columns: Bounds) -> CutMatrix:
    """The smallest part of a matrix [R, C] that holds some rows and columns: views of its tensors."""
    lay, held = lay_of(matrix), dict(parts)
    asked, found = (rows, columns), []
    for of in (ROWS, COLUMNS):
        every, (first, last) = border(matrix, of), asked[of]
        found.append((first // every * every, min(-(-last // every) * every, matrix.shape[of])))
    for role, dims in lay.items():
        part = held[role].flatten(0, 1) if matrix.encoding.format == "mxfp4" else held[role]
        for dim, along in enumerate(dims):
            if along is not None:
                first, last = along.bounds(found[along.of])
                part = part.narrow(dim, first, min(last, part.shape[dim]) - first)
        held[role] = part[None] if matrix.encoding.format == "mxfp4" else part
    if matrix.encoding.ordered:
        _keep_groups(matrix, held)
    (top, bottom), (left, right) = found
    smaller = replace(matrix, shape=(bottom - top, right - left))
    return CutMatrix(smaller, held, (rows[0] - top, rows[1] - top), (columns[0] - left, columns[1] - left))


def _keep_groups(matrix: PackedMatrix, held: dict[str, Tensor]) -> None:
    """Of groups that a list gives to columns, those from the first to the last that the columns of a part have."""
    order, dim = held["order"], int("packed_along" not in matrix.encoding.settings)
    first, last = (int(order.min()), int(order.max()) + 1) if order.numel() else (0, 0)
    if not 0 <= first < last <= held["scales"].shape[dim]:
        return  # what reads it says so
    held["order"] = order - first
    for role in held.keys() & set(SHARED):
        held[role] = held[role].narrow(dim, first, last - first)


def of_stack(matrix: PackedMatrix, parts: Mapping[str, Tensor], index: int) -> tuple[PackedMatrix, dict[str, Tensor]]:
    """One matrix [R, C] of a stack [E, R, C]."""
    held = {role: part[index] if len(info.shape) == 3 else part for role, info, part in _each(matrix, parts)}
    infos = {role: _without_first(info) for role, info in matrix.parts.items()}
    return replace(matrix, shape=matrix.shape[1:], parts=infos), held


def lay_of(matrix: PackedMatrix) -> Lay:
    """What the dimensions of each tensor of a matrix [R, C] count."""
    e = matrix.encoding
    if e.format == "gguf":
        return {"blocks": (Along(ROWS, 1), _block(str(e.settings["type"])))}
    if e.format == "mxfp4":
        return {"codes": (Along(ROWS, 1), Along(COLUMNS, 32), None), "scales": (Along(ROWS, 1), Along(COLUMNS, 32))}
    if e.settings.get("packed_along") in ("in", "out"):
        return _turned(matrix)
    return {role: _in_order(matrix, role, info) for role, info in matrix.parts.items()}


def _in_order(matrix: PackedMatrix, role: str, info: TensorInfo) -> tuple[Along | None, ...]:
    """Of a tensor whose rows are the matrix's."""
    e, whole = matrix.encoding, (None,) * len(info.shape)
    if role == "codes":
        return Along(ROWS, 1), _per(COLUMNS, 8 * ITEM_BYTES[info.dtype], e.bits)
    if role == "order":
        return (Along(COLUMNS, 1),)
    if role not in SHARED or not info.shape:
        return whole
    down = _group(ROWS, e.group[0], matrix)
    if role == "zeros" and info.dtype == "int32" and down is not None:  # words that hold those of several rows
        down = _per(ROWS, 32 * down.lines, e.bits)
    if len(info.shape) == 1:
        return (down if info.shape[0] > 1 else None,)
    if e.format == "bitsandbytes" and info.shape[0] == 1:
        return None, down
    return down, None if e.ordered else _group(COLUMNS, e.group[1], matrix)


def _turned(matrix: PackedMatrix) -> Lay:
    """Of GPTQ and AWQ, whose tensors count columns first and pack codes along the one or the other."""
    e = matrix.encoding
    group = None if e.ordered else _group(COLUMNS, e.group[1], matrix)
    word = {of: _per(of, 32, e.bits) for of in (ROWS, COLUMNS)}
    is_in = e.settings["packed_along"] == "in"
    codes = (word[COLUMNS], Along(ROWS, 1)) if is_in else (Along(COLUMNS, 1), word[ROWS])
    lay: dict[str, tuple[Along | None, ...]] = {"codes": codes, "zeros": (group, word[ROWS])}
    return lay | {"scales": (group, Along(ROWS, 1))} | ({"order": (Along(COLUMNS, 1),)} if e.ordered else {})


def _block(type: str) -> Along:
    """The bytes of a block of llama.cpp's, and its columns."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    return Along(COLUMNS, *GGML_QUANT_SIZES[GGMLQuantizationType[type]])


def _group(of: int, size: int | None, matrix: PackedMatrix) -> Along | None:
    """So many rows or columns share an entry; where all do, every part has it."""
    return None if size is None or size >= matrix.shape[of] else Along(of, size)


def _per(of: int, lines: int, entries: int) -> Along:
    shared = gcd(lines, entries) or 1
    return Along(of, lines // shared, entries // shared)


def _each(matrix: PackedMatrix, parts: Mapping[str, Tensor]) -> Iterator[tuple[str, TensorInfo, Tensor]]:
    return ((role, info, parts[role]) for role, info in matrix.parts.items())


def _without_first(info: TensorInfo) -> TensorInfo:
    return replace(info, shape=info.shape[1:]) if len(info.shape) == 3 else info
