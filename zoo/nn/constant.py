"""Numbers that modules compute with and that no checkpoint holds."""

from __future__ import annotations

import torch
from torch import Tensor


class Constant:
    """Keeps the last tensor that was made of some numbers: a step then copies none of them to a GPU.

    A module that has one is on every device, and on meta, all the same.
    """

    def __init__(self) -> None:
        self._numbers: list[float] = []
        self._held: Tensor | None = None

    def __call__(self, numbers: list[float], dtype: torch.dtype, device: torch.device) -> Tensor:
        """The numbers [n] in `dtype` on `device`; they are taken to change only where they are replaced."""
        held = self._held
        is_traced = torch.compiler.is_compiling()
        is_known = numbers == self._numbers if is_traced else numbers is self._numbers
        if held is not None and is_known and held.dtype == dtype and held.device == device and not is_exporting():
            return held
        if is_traced:
            return torch.tensor(numbers, dtype=dtype, device=device)
        with torch.inference_mode(False):  # for training too
            made = torch.tensor(numbers, dtype=dtype, device=device)
        if type(made) is Tensor:  # not one that only stands for a tensor
            self._numbers, self._held = numbers, made
        return made

    def __deepcopy__(self, memo: object) -> Constant:
        return Constant()

    def __reduce__(self) -> tuple[type[Constant], tuple[()]]:
        return Constant, ()


# What is exported has its numbers in itself; what is compiled may use what is there.
is_exporting = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)
