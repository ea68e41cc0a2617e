"""Weights stored as 8-bit floats with one scale per block, as DeepSeek-V3 releases them (arXiv:2412.19437, 3.3.2).

Beside `x.weight` stands `x.weight_scale_inv`, the factor of each block, 128 x 128 but for the edges. The views below
show `x.weight` as bfloat16 and hide the scales.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import CheckpointError, clean
from zoo.files.tensor_info import TensorInfo

if TYPE_CHECKING:
    from torch import Tensor

SCALE = "_scale_inv"
FP8 = "float8_e4m3fn"
SCALE_DTYPES = ("float32", "bfloat16", "float16")


def block_size(config: Mapping[str, Any], file: Path) -> tuple[int, int] | None:
    """Rows and columns of a block where `config`, read from `file`, declares such weights; None where it does not."""
    found = config.get("quantization_config")
    if not isinstance(found, dict) or found.get("quant_method") != "fp8":
        return None
    block = found.get("weight_block_size", [128, 128])
    if isinstance(block, list) and len(block) == 2 and all(type(n) is int and 0 < n <= 1 << 20 for n in block):
        return block[0], block[1]
    item, why = "quantization_config.weight_block_size", "zoo reads 8-bit floats with one scale per block"
    raise CheckpointError(file, item, f"{clean(repr(block))} is not a pair of sizes", why=why)


def unscaled_infos(tensors: Mapping[str, TensorInfo], block: tuple[int, int]) -> dict[str, TensorInfo]:
    """`tensors` as `BlockFP8` shows them. Raises CheckpointError for a weight and a scale that do not fit."""
    shown: dict[str, TensorInfo] = {}
    for name, info in tensors.items():
        if name.endswith(SCALE):
            if name.removesuffix(SCALE) not in tensors:
                raise CheckpointError(info.file, name, f"scales {clean(name.removesuffix(SCALE))}, which is missing")
        elif f"{name}{SCALE}" in tensors:
            _check_pair(info, tensors[f"{name}{SCALE}"], block)
            shown[name] = TensorInfo(name, "bfloat16", info.shape, info.file, 2 * info.numel, None)
        elif info.dtype == FP8:
            raise CheckpointError(info.file, name, f"is {FP8} without {clean(name)}{SCALE}, its scale")
        else:
            shown[name] = info
    return shown


class BlockFP8(Mapping[str, "Tensor"]):
    """A view of the tensors `raw`: each `x` that has an `x_scale_inv` multiplied by it, one tensor at a time."""

    def __init__(self, raw: Mapping[str, Tensor], block: tuple[int, int] = (128, 128)) -> None:
        self._raw, self._block = raw, block

    def __getitem__(self, name: str) -> Tensor:
        if name.endswith(SCALE):
            raise KeyError(name)
        if f"{name}{SCALE}" not in self._raw:
            return self._raw[name]
        return self._multiply(self._raw[name], self._raw[f"{name}{SCALE}"].float())

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._raw if not name.endswith(SCALE))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _multiply(self, weight: Tensor, scale: Tensor) -> Tensor:
        import torch

        rows, columns = self._block
        out = torch.empty(weight.shape, dtype=torch.bfloat16)
        for i, factors in enumerate(scale):  # a band of blocks at a time: no float32 copy of the whole
            band = slice(i * rows, (i + 1) * rows)
            # In float32, as the released code does it: one rounding, at the end.
            out[band] = weight[band].float() * factors.repeat_interleave(columns)[: weight.shape[1]]
        return out


def _check_pair(weight: TensorInfo, scale: TensorInfo, block: tuple[int, int]) -> None:
    if weight.dtype != FP8 or len(weight.shape) != 2:
        raise CheckpointError(
            weight.file, weight.name, f"is {weight.dtype} {list(weight.shape)}, not a matrix of {FP8}"
        )
    expected = tuple(-(-size // step) for size, step in zip(weight.shape, block, strict=True))
    if scale.shape != expected or scale.dtype not in SCALE_DTYPES:
        what = f"is {scale.dtype} {list(scale.shape)}"
        why = f"a weight of {list(weight.shape)} in blocks of {list(block)} has scales of {list(expected)}"
        raise CheckpointError(scale.file, scale.name, what, why=why)
