"""Linear layers of one input, whose matrices lie behind one another in memory: a step takes one product for all.

What a token's step through a small model takes is the number of its operations. The layers stay what they are, with
weights of their own: each has its rows of one piece of memory. Where a weight is no longer there (another type or
device, one that was replaced, a layer packed or adapted) the layers compute one by one, as they do everywhere else.

Shapes: B batch, D hidden, R_i rows of the i-th matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules import module as of_all

from zoo.nn.products import SMALLEST, is_linear, linear

LARGEST = 1 << 20  # numbers of a matrix: a larger one is read for much longer than it takes to ask for its product
ALIGNED = 64  # bytes: processors read vectors of so many

Free = Callable[[nn.Parameter], bool]

ITS_OWN = nn.Linear.forward, nn.Module._call_impl, nn.Module.__call__


class Laid(NamedTuple):
    """A layer, and where its numbers were put."""

    layer: nn.Linear
    weight: nn.Parameter
    bias: nn.Parameter | None
    at: tuple[object, ...]
    bias_at: tuple[object, ...] | None

    @property
    def is_plain(self) -> bool:
        """Whether the layer multiplies and does no more: nothing is hooked to it, or in its method's place."""
        layer, own = self.layer, self.layer.__dict__
        is_hooked = layer._forward_hooks or layer._forward_pre_hooks
        is_other = "forward" in own or "_call_impl" in own or "_compiled_call_impl" in own
        return is_linear(layer) and not is_hooked and not is_other

    @property
    def is_there(self) -> bool:
        """Whether its numbers are still where they were put, and lie as they did."""
        weight, bias, held = self.weight, self.bias, self.layer._parameters
        return (
            held.get("weight") is weight
            and _place_of(weight) == self.at
            and held.get("bias") is bias
            and (bias is None or _place_of(bias) == self.bias_at)
        )


class SideBySide:
    """The product of an input with the matrices of some linear layers, while these lie behind one another."""

    def __init__(self, *names: str) -> None:
        """`names` are those of the layers in the module that has this."""
        self.names = names
        self._whole: Tensor | None = None  # the memory of all weights, [R_1 + R_2 + ..., D]
        self._bias: Tensor | None = None
        self._laid: list[Laid] = []

    def __call__(self, owner: nn.Module, x: Tensor) -> Tensor | None:
        """[B, 1, R_1 + R_2 + ...] for x [B, 1, D]; None where the layers compute one by one, as with gradients."""
        whole = self._whole
        if whole is None or x.dim() != 3 or x.shape[1] != 1 or torch.is_grad_enabled() or _is_watched():
            return None
        modules = owner._modules
        for name, laid in zip(self.names, self._laid, strict=True):
            if modules.get(name) is not laid.layer or not laid.is_there:
                self.forget()
                return None
            if not laid.is_plain:
                return None
        multiply = linear if whole.numel() >= SMALLEST else F.linear  # to ask takes a twentieth of a step
        return multiply(x, whole, self._bias)

    def lay(self, owner: nn.Module, is_free: Free) -> None:
        """Put the layers' weights behind one another, if they are small and plain and each `is_free` to be moved."""
        self.forget()
        layers: list[Any] = [owner._modules.get(name) for name in self.names]
        if not all(map(is_linear, layers)):
            return
        weights, biases = ([layer._parameters.get(name) for layer in layers] for name in ("weight", "bias"))
        parts = weights if all(bias is None for bias in biases) else weights + biases
        if any(type(part) is not nn.Parameter or part.is_meta for part in parts) or len(set(parts)) < len(parts):
            return  # a weight of two layers cannot lie in two places
        whole, bias = _lying(weights), _lying(biases) if len(parts) > len(weights) else None
        if whole is None or (bias is None and len(parts) > len(weights)):
            is_alike = len({(part.dtype, part.device.type) for part in parts} | {(parts[0].dtype, "cpu")}) == 1
            if not is_alike or max(w.numel() for w in weights) > LARGEST or not all(map(is_free, parts)):
                return
            whole, bias = _laid(weights), _laid(biases) if len(parts) > len(weights) else None
        self._whole, self._bias = whole, bias
        self._laid = [
            Laid(layer, w, b, _place_of(w), None if b is None else _place_of(b))
            for layer, w, b in zip(layers, weights, biases, strict=True)
        ]

    def forget(self) -> None:
        """Hold no memory for weights that are going to be elsewhere."""
        self._whole, self._bias, self._laid = None, None, []

    def __deepcopy__(self, memo: object) -> SideBySide:
        return SideBySide(*self.names)

    def __reduce__(self) -> tuple[Any, ...]:
        return SideBySide, self.names


class WithSideBySide(nn.Module):
    """A module whose layers of one input may lie side by side: moved or cast, they no longer do."""

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        for held in _held_by(self):
            held.forget()
        return super()._apply(fn, recurse)


def lay_side_by_side(model: nn.Module, is_free: Free = lambda parameter: True) -> None:
    """Let the small weights of a model that multiply the same input lie behind one another, where they are free."""
    with torch.no_grad():
        for module in model.modules():
            for held in _held_by(module):
                held.lay(module, is_free)


def _held_by(module: nn.Module) -> list[SideBySide]:
    return [value for value in vars(module).values() if isinstance(value, SideBySide)]


def _place_of(part: nn.Parameter) -> tuple[object, ...]:
    """Where the numbers of a parameter are, and how they are read there."""
    return part.data_ptr(), part.shape, part.stride(), part.dtype, part.is_neg()


def _lying(parts: Sequence[nn.Parameter]) -> Tensor | None:
    """Rows that lie behind one another as they are, as those of a matrix that was cut into these; else None."""
    first, stride = parts[0], parts[0].stride()
    storage, at = first.untyped_storage().data_ptr(), first.data_ptr()
    for part in parts:
        is_next = part.data_ptr() == at and part.untyped_storage().data_ptr() == storage
        if not is_next or part.stride() != stride or part.dtype != first.dtype or part.shape[1:] != first.shape[1:]:
            return None
        at += part.shape[0] * stride[0] * part.itemsize
    rows = sum(part.shape[0] for part in parts)
    return first.detach().as_strided((rows, *first.shape[1:]), stride)


def _laid(parts: Sequence[nn.Parameter]) -> Tensor:
    """One piece of memory with the rows of all, in which each part has a storage of its own.

    So nobody who looks at storages, as writers of files do to find tied weights, takes them for one.
    """
    sizes = [part.nbytes for part in parts]
    memory = bytearray(sum(sizes) + ALIGNED)
    at = -torch.frombuffer(memory, dtype=torch.uint8).data_ptr() % ALIGNED
    kind = parts[0].dtype
    whole = torch.frombuffer(memory, dtype=kind, count=sum(sizes) // kind.itemsize, offset=at)
    for part, size in zip(parts, sizes, strict=True):
        own = torch.frombuffer(memory, dtype=kind, count=size // kind.itemsize, offset=at).view(part.shape)
        own.copy_(part)
        part.data = own
        at += size
    return whole.view(-1, *parts[0].shape[1:])


def _is_watched() -> bool:
    """Whether someone follows what modules do: a graph that must stand for other weights too, or hooks of all.

    Or has changed for all what a linear layer does.
    """
    is_traced = torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None
    is_changed = (nn.Linear.forward, nn.Module._call_impl, nn.Linear.__call__) != ITS_OWN
    return bool(is_traced or is_changed or of_all._global_forward_hooks or of_all._global_forward_pre_hooks)
