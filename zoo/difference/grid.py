"""How finely the numbers of a stored weight may lie: what one step of its rounding is, by its format.

N rows, K columns.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zoo.units import ITEM_BYTES

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.files.packed import Encoding

# The spacing of a float's numbers as a share of them, and the least number above 0 in units of the largest that a scale
# lets it have (of a type without a scale: the least number itself).
FLOATS = {
    "float64": (2.0**-52, 0.0), "float32": (2.0**-23, 2.0**-149), "bfloat16": (2.0**-7, 2.0**-133),
    "float16": (2.0**-10, 2.0**-24), "float8_e4m3fn": (2.0**-3, 2.0**-9 / 448), "float8_e5m2": (2.0**-2, 2.0**-30),
}  # fmt: skip
SHORT = 16  # columns of the smallest group that llama.cpp's types have
BY_16 = ("Q2_K", "Q3_K", "Q6_K")
LEAST_STEP = 0.1  # of the widest step in a row: scales that are rounded themselves are no finer than that


@dataclass(frozen=True)
class Grid:
    """The numbers that a rounding can give: `bits` with a scale per `group` columns, or those of a float type."""

    words: str
    bits: int = 0
    group: int | None = None  # None: the whole row
    float_type: str = ""

    @property
    def is_float(self) -> bool:
        """Whether the spacing goes with the number itself."""
        return bool(self.float_type)

    def steps(self, numbers: Tensor) -> Tensor:
        """How far apart the numbers of this grid are at each of `numbers` [N, K], which it is to hold."""
        size = numbers.abs()
        if self.is_float:
            share, least = FLOATS[self.float_type]
            floor = 2 * least * size.max() if self.float_type.startswith("float8") else least
            return size * share + floor
        columns = numbers.shape[1]
        width = min(self.group or columns, columns)
        import torch
        from torch.nn import functional as F

        most = F.pad(size, (0, -columns % width)).unflatten(1, (-1, width)).amax(-1)  # [N, groups]
        most = torch.maximum(most, LEAST_STEP * most.amax(1, keepdim=True))
        step = 2 * most / max(2, 2**self.bits - 1)
        return step.repeat_interleave(width, 1)[:, :columns]


def grid_of(encoding: Encoding) -> Grid:
    """The grid of a packed matrix."""
    settings = encoding.settings
    if encoding.numbers == "fp8":
        kind = str(settings.get("dtype", "float8_e4m3fn"))
        return Grid("8-bit floats", 8, float_type=kind if kind in FLOATS else "float8_e4m3fn")
    if encoding.format == "gguf":
        return _of_blocks(str(settings["type"]).upper())
    size = settings.get("block", encoding.group[1])
    group = size if isinstance(size, int) and not encoding.ordered else None
    shared = "" if group is None else f" in groups of {group}"
    return Grid(f"{encoding.bits} bits{shared}", encoding.bits, group)


def grid_of_dtype(dtype: str) -> Grid | None:
    """The grid of a weight that is stored as it is; None for a type of integers."""
    return Grid(dtype, 8 * ITEM_BYTES.get(dtype, 0), float_type=dtype) if dtype in FLOATS else None


def _of_blocks(name: str) -> Grid:
    """Of one of llama.cpp's types: Q4_K has 4 bits, IQ3_XXS 3, TQ1_0 three values."""
    digits = re.search(r"\d+", name)
    bits = int(digits.group()) if digits else 4
    bits = 2 if name.startswith("TQ") else 4 if name.startswith("MXFP") else bits
    group = SHORT if name in BY_16 or name.startswith(("IQ1", "IQ2")) else 32
    return Grid(f"{name}, {bits} bits", bits, group)
