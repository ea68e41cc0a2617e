"""float64 from end to end, in code that was written for float32."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


class Float64(TorchFunctionMode):
    """Inside, whatever asks torch for float32 gets float64.

    Models of transformers compute norms, rotary angles and softmax in float32 whatever the dtype of their weights, so
    that two of them in float64 agree to seven digits only. Lifted, what is left is the order of sums: about 1e-14.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        func = Tensor.double if func is Tensor.float else func
        return func(*map(_lifted, args), **{name: _lifted(value) for name, value in (kwargs or {}).items()})


def _lifted(value: Any) -> Any:
    return torch.float64 if value is torch.float32 else value
