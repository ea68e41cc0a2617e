"""A linear layer whose matrix stays packed.

B batch, T tokens, M = B*T, N rows, K columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Protocol, Self, cast

import torch
from torch import Tensor, nn

from zoo.nn.packed import kernels
from zoo.nn.packed.kernels import Kernel
from zoo.nn.products import linear

BAND = 1 << 18  # numbers that are unpacked at a time: in float32 1 MiB, what a core has for itself


class PackingScheme(Protocol):
    """What the buffers of a packed layer mean."""

    def dequantise(self, parts: Mapping[str, Tensor], rows: slice) -> Tensor:
        """The numbers of some rows."""
        ...

    def kernel(self, parts: Mapping[str, Tensor]) -> Kernel | None:
        """What multiplies by a matrix of these parts on a CPU, in bfloat16; None where nothing of torch does."""
        ...

    def takes(self, rows: int, columns: int) -> bool:
        """Whether a kernel of this machine multiplies by a matrix of this size."""
        ...

    def ordered(self, parts: dict[str, Tensor]) -> tuple[Any, dict[str, Tensor]]:
        """This scheme and these parts in the order that the kernels of this machine want."""
        ...


class PackedLinear(nn.Module):
    """A layer with the name of the nn.Linear that it stands for, and buffers in the place of its weight.

    Where a kernel of the CPU multiplies by it, activations are rounded to bfloat16 on the way in, whatever the dtype of
    the model but float64, and the result comes back in that. Elsewhere the product is that of the numbers that the
    matrix stands for, in the dtype of the model. `like` is empty: it follows that dtype.
    """

    like: Tensor
    kernel: Kernel | None = None  # what multiplies by the matrix as it lies, asked of the scheme when that changes

    def __init__(
        self, scheme: PackingScheme, parts: Mapping[str, Tensor], shape: tuple[int, int], *, dtype: torch.dtype,
        bias: nn.Parameter | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.scheme, self.names = scheme, tuple(parts)
        self.out_features, self.in_features = shape
        for name, part in parts.items():
            self.register_buffer(name, part)
        device = next(iter(parts.values())).device
        self.register_buffer("like", torch.empty(0, dtype=dtype, device=device), persistent=False)
        self.bias = bias

    @property
    def parts(self) -> dict[str, Tensor]:
        """The buffers that hold the matrix, by name."""
        buffers = self._buffers
        return {name: buffers[name] for name in self.names}  # pyrefly: ignore[bad-return]

    @property
    def nbytes(self) -> int:
        """Bytes of the packed matrix."""
        return sum(part.nbytes for part in self.parts.values())

    def dequantise(self, dtype: torch.dtype | None = None, rows: slice | None = None) -> Tensor:
        """The matrix [N, K], or some of its rows, as numbers in `dtype` (None: that of the model)."""
        first, last, _ = (rows or slice(None)).indices(self.out_features)
        out = torch.empty(max(0, last - first), self.in_features, dtype=dtype or self.like.dtype, device=self.device)
        for band in self._bands(first, last):
            out[band.start - first : band.stop - first] = self.scheme.dequantise(self.parts, band)
        return out

    def look_up(self, tokens: Tensor) -> Tensor | None:
        """The rows of tokens [B, T] as numbers [B, T, K] in the dtype of the model; None where only bands are known."""
        look = getattr(self.scheme, "look_up", None)
        return None if look is None else look(self.parts, tokens).to(self.like.dtype)

    @property
    def device(self) -> torch.device:
        """Where the matrix is."""
        return self.like.device

    def forward(self, x: Tensor) -> Tensor:
        """x [B, T, K] to [B, T, N]."""
        out = self.without_bias(x)
        return out if self.bias is None else out + self.bias

    def without_bias(self, x: Tensor) -> Tensor:
        """x [B, T, K] times the matrix, through which gradients come back."""
        return cast(Tensor, _Product.apply(x, self, self.times)) if _learns(x) else self.times(x)

    def in_full(self, x: Tensor, *, is_narrow: bool) -> Tensor:
        """The same before its last rounding, in float32 at least; x is rounded before, where it `is_narrow`."""
        times = partial(self._times_in_full, is_narrow=is_narrow)
        return cast(Tensor, _Product.apply(x, self, times)) if _learns(x) else times(x)

    def times(self, x: Tensor) -> Tensor:
        """x [..., K] times the matrix, in the dtype of x: by a kernel, or by its numbers, a band of rows at a time."""
        flat, parts = x.reshape(-1, self.in_features), self.parts
        if self.kernel is not None and x.is_cpu and x.dtype != torch.float64:
            flat = flat.to(torch.bfloat16)
            if len(flat) <= kernels.ROWS:
                return self.kernel(flat, parts).to(x.dtype).view(*x.shape[:-1], self.out_features)
        out = torch.empty(flat.shape[0], self.out_features, dtype=x.dtype, device=x.device)
        for band in self._bands(0, self.out_features):
            out[:, band] = linear(flat, self.scheme.dequantise(parts, band).to(flat))
        return out.reshape(*x.shape[:-1], self.out_features)

    def _times_in_full(self, x: Tensor, *, is_narrow: bool) -> Tensor:
        flat, wide = x.reshape(-1, self.in_features), torch.promote_types(x.dtype, torch.float32)
        flat = flat.to(torch.bfloat16) if is_narrow else flat
        is_exact = is_narrow and len(flat) <= kernels.ROWS  # a kernel does not round the numbers of the matrix
        out = torch.empty(flat.shape[0], self.out_features, dtype=wide, device=x.device)
        for band in self._bands(0, self.out_features):
            numbers = self.scheme.dequantise(self.parts, band)
            out[:, band] = linear(flat.to(wide), (numbers if is_exact else numbers.to(flat)).to(wide))
        return out.reshape(*x.shape[:-1], self.out_features)

    def times_transposed(self, y: Tensor) -> Tensor:
        """y [..., N] times the transpose: what comes back through the layer, [..., K]."""
        flat, out = y.reshape(-1, self.out_features), y.new_zeros(*y.shape[:-1], self.in_features)
        for band in self._bands(0, self.out_features):
            out += (flat[:, band] @ self.scheme.dequantise(self.parts, band).to(y)).view_as(out)
        return out

    def put_in_order(self) -> Self:
        """Let the kernels of this machine have the codes as they want them."""
        self.__dict__["kernel"] = None
        if self.device.type == "cpu":
            self._take(*self.scheme.ordered(self.parts))
            self.__dict__["kernel"] = self.scheme.kernel(self.parts)
        return self

    def put_in_plain_order(self) -> Self:
        """Have the codes as every machine understands them."""
        if (plain := getattr(self.scheme, "plain", None)) is not None:
            self._take(*plain(self.parts))
        return self

    def extra_repr(self) -> str:
        """What print shows."""
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}, {type(self.scheme).__name__}"

    def _take(self, scheme: PackingScheme, parts: Mapping[str, Tensor]) -> None:
        self.scheme = scheme
        self._buffers.update(parts)

    def _bands(self, first: int, last: int) -> Iterator[slice]:
        step = max(64, BAND // max(1, self.in_features) // 64 * 64)  # whole blocks of the kernels' order
        return (slice(start, min(start + step, last)) for start in range(first, last, step))

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        """Move the matrix with the model, and leave its type alone: `half()` is for what the model computes in."""
        before = self.put_in_plain_order().parts
        super()._apply(fn, recurse)
        for name, part in before.items():
            moved = cast(Tensor, self._buffers[name])
            if moved.dtype != part.dtype:
                self._buffers[name] = part.to(moved.device)
        return self.put_in_order()

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled and copied is in plain order: it may be read on another machine."""
        scheme, parts = self.scheme, self.parts
        state = self.put_in_plain_order().__dict__ | {"_buffers": dict(self._buffers)}
        state.pop("kernel", None)
        self._take(scheme, parts)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.put_in_order()

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        scheme, parts = self.scheme, self.parts
        self.put_in_plain_order()
        super()._save_to_state_dict(destination, prefix, keep_vars)
        self._take(scheme, parts)

    def _load_from_state_dict(self, *args: Any, **named: Any) -> None:
        self.put_in_plain_order()
        super()._load_from_state_dict(*args, **named)
        self.put_in_order()


def _learns(x: Tensor) -> bool:
    return torch.is_grad_enabled() and x.requires_grad


class _Product(torch.autograd.Function):
    """The product, and what comes back through it; a packed matrix itself does not learn."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: PackedLinear, times: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.layer, ctx.dtype = layer, x.dtype
        return times(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # pyrefly: ignore[bad-override]
        return ctx.layer.times_transposed(grad).to(ctx.dtype), None, None
