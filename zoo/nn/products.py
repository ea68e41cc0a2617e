"""Linear layers, and the library that multiplies for them on a CPU.

For numbers of 32 bits torch asks MKL, which on processors with AVX-512 that Intel did not make takes half of what they
can, and gives one thread the whole product of a single row. There large matrices are multiplied by oneDNN, which torch
comes with as well: twice as fast for many rows, and nearer to what memory can bring for one. For one row in bfloat16 it
is the other way round (`zoo.nn.single_row`), and what no library multiplies in its own type is widened
(`zoo.nn.halves`). Whoever follows what is computed, as gradients, compilers, counters of operations and autocast do,
sees torch's own product as before.

Shapes: D inner, R rows of the matrix.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn import functional as F

from zoo.nn import halves, single_row

SMALLEST = 1 << 16  # numbers of a matrix: a smaller one is multiplied in the time that oneDNN takes to be called
SMALLEST_OF_FEW, FEW = 1 << 17, 32  # the same for fewer rows than so many
OWN_PRODUCT, OWN_FORWARD = F.linear, nn.Linear.forward
AN_OCTAVE = 8  # numbers of rows between a power of two and the next for which oneDNN makes a product ready


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x [..., D] times weight [R, D], plus bias [R]: [..., R], as `torch.nn.functional.linear` gives it."""
    if not goes_to_onednn(x, weight, bias):
        return _of_halves(x, weight, bias) if _is_of_halves(x, weight, bias) else F.linear(x, weight, bias)
    rows = x.reshape(-1, x.shape[-1])
    count = len(rows)
    if (ready := _as_ready(count)) > count:
        rows = torch.cat((rows, rows.new_zeros(ready - count, rows.shape[1])))
    return onednn_product()(rows, weight, bias, "none", [], "")[:count].view(*x.shape[:-1], -1)


def goes_to_onednn(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> bool:
    """Whether oneDNN multiplies these, and the faster, and nobody would miss torch's own product."""
    return (
        not torch.compiler.is_compiling()
        and _is_plain(x)  # what stands for a tensor need not know what is asked next
        and _is_plain(weight)
        and torch._C._get_tracing_state() is None
        and weight.numel() >= SMALLEST
        and onednn_product() is not None
        and (bias is None or (_is_plain(bias) and bias.shape == weight.shape[:1] and bias.is_contiguous()))
        and x.numel() > 0
        and weight.ndim == 2
        and x.shape[-1:] == weight.shape[1:]
        and (weight.numel() >= SMALLEST_OF_FEW or x.numel() >= FEW * x.shape[-1])
        and (weight.is_contiguous() or weight.mT.is_contiguous())  # other strides take a thousand times as long
        and single_row.is_wanted()
        and not _is_followed()
    )


def _is_of_halves(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether these are numbers of 16 bits, of one type, and enough of them to ask who multiplies the faster."""
    return (
        not torch.compiler.is_compiling()
        and type(x) in (Tensor, nn.Parameter)
        and x.dtype in halves.HALVES
        and all(part is None or _is_plain(part, x.dtype) for part in (x, weight, bias))
        and torch._C._get_tracing_state() is None
        and weight.numel() >= SMALLEST
        and single_row.is_wanted()
    )


def _of_halves(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    is_followed = _is_followed()
    if single_row.is_by_onednn(x.dtype):
        return single_row.product(x, weight, bias, is_followed=is_followed)
    if not is_followed and halves.is_slow(x.dtype) and halves.is_many(x, weight, bias):
        return halves.product(x, weight, bias, linear)
    return F.linear(x, weight, bias)


def times(x: Tensor, matrix: Any) -> Tensor:
    """x [M, D] times a matrix [R, D], or times what stands for one, or for one of each row: x @ matrix.mT."""
    return linear(x, matrix) if isinstance(matrix, Tensor) and matrix.ndim == 2 else x @ matrix.mT


class Linear(nn.Linear):
    """torch's layer, which multiplies by `linear`."""

    def forward(self, input: Tensor) -> Tensor:
        """x [..., D] to [..., R], by torch's method in a script, and by another's that stands in its place."""
        if torch.jit.is_scripting():
            return F.linear(input, self.weight, self.bias)
        else:  # which a script does not read
            if nn.Linear.forward is not OWN_FORWARD:
                return super().forward(input)
            return linear(input, self.weight, self.bias)


def is_linear(module: object) -> bool:
    """Whether a module is torch's layer and nothing more, whoever multiplies for it."""
    return type(module) in (nn.Linear, Linear)


def multiply_faster(model: nn.Module) -> None:
    """Let the large linear layers of a model, a stranger's too, multiply by `linear` where that is the faster."""
    if single_row.is_wanted():
        for module in model.modules():
            if type(module) is nn.Linear and "forward" not in vars(module) and _is_faster(module):
                module.__class__ = Linear


def _is_faster(layer: nn.Linear) -> bool:
    """Whether a layer is large, and of numbers that this processor multiplies the faster by another way."""
    weight = layer._parameters.get("weight")  # another may have taken it away
    return (
        weight is not None
        and weight.numel() >= SMALLEST
        and (onednn_product() is not None or (halves.IS_X86 and weight.dtype in halves.HALVES))
    )


@cache
def onednn_product() -> Any:
    """oneDNN's product (x, weight, bias, what follows it: nothing), where MKL has half the processor; else None."""
    about = getattr(torch.cpu, "get_capabilities", dict)()  # not every release of torch tells
    is_halved = about.get("avx512_f", False) and "Intel" not in about.get("cpu_name", "Intel")
    if not (is_halved and torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()):
        return None
    return getattr(torch.ops.mkldnn, "_linear_pointwise", None)


def _as_ready(count: int) -> int:
    """The least of the numbers of rows with a product ready that `count` fits: at most an eighth more.

    To make one ready takes longer than to compute it, and memory that is kept; texts are of all lengths.
    """
    step = max(1, (1 << (count - 1).bit_length()) // (2 * AN_OCTAVE))
    return -(-count // step) * step


def _is_plain(part: Tensor, dtype: torch.dtype = torch.float32) -> bool:
    """Whether these are such numbers in the machine's memory, and not what computes or lies in a way of its own."""
    return (
        type(part) in (Tensor, nn.Parameter)
        and part.dtype is dtype
        and part.device.type == "cpu"
        and part.layout is torch.strided
        and not part.is_nested
    )


def _is_followed() -> bool:
    """Whether gradients, autocast, modes or transforms are on, which know torch's own operations alone.

    Or another function stands in the place of torch's, to see what it is given.
    """
    return bool(
        F.linear is not OWN_PRODUCT
        or torch.is_grad_enabled()
        or torch.is_autocast_enabled("cpu")
        or torch._C._len_torch_dispatch_stack()
        or torch._C._len_torch_function_stack()
        or torch._C._functorch.peek_interpreter_stack() is not None
        or forward_ad._current_level >= 0
    )
