"""A single row times a matrix in bfloat16 on a CPU: by torch's own kernel, where torch would ask oneDNN.

Where the processor multiplies in bfloat16, torch asks oneDNN for all but the smallest products. For one row, as each
step of a text is, that takes 1.5 to 3 times as long as torch's own kernel, which sums in float32 and rounds once, too;
for many rows it is the other way round, and more so. One switch of the whole process chooses, so threads must agree:
it is off while single rows are multiplied, and nobody turns it off while others are under way.

Shapes: D inner, R rows of the matrix.
"""

from __future__ import annotations

import os
from threading import Condition, RLock

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.nn.halves import IS_X86, is_slow

IS_FAST = IS_X86 and torch.backends.mkldnn.is_available()

_lock = RLock()  # entered as it is: an interrupt within Condition's own method would leave it locked for good
_ended = Condition(_lock)  # of all single rows
_single: set[object] = set()  # products under way by torch's own kernel
_several: set[object] = set()  # and by oneDNN


def product(x: Tensor, weight: Tensor, bias: Tensor | None, *, is_followed: bool) -> Tensor:
    """x [..., D] times weight [R, D] plus bias [R], in bfloat16: by whichever is the faster.

    Where others follow what is computed, and so may multiply meanwhile, by oneDNN.
    """
    if not is_followed and x.ndim and x.numel() == x.shape[-1] and weight.is_contiguous():
        return _by_torch(x, weight, bias)
    return _by_onednn(x, weight, bias)


def is_by_onednn(dtype: torch.dtype) -> bool:
    """Whether torch asks oneDNN for products in this type on this processor, and has a faster kernel for a row."""
    return IS_FAST and dtype is torch.bfloat16 and not is_slow(dtype)


def is_wanted() -> bool:
    """Whether oneDNN is on, but for what this module does with the switch."""
    return bool(_single) or torch._C._get_mkldnn_enabled()


def _by_torch(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    this = object()
    try:
        with _lock:
            if not _several and is_wanted():
                _single.add(this)
                torch._C._set_mkldnn_enabled(False)
        return F.linear(x, weight, bias)
    finally:
        try:
            _end(this)
        finally:
            if this in _single:
                _end(this)  # an interrupt came between: Python raises it after any call


def _end(this: object) -> None:
    """A single row is done. The order matters: what was not reached is done when this is called again."""
    with _lock:
        if _single == {this}:
            torch._C._set_mkldnn_enabled(True)
            _ended.notify_all()
        _single.discard(this)


def _by_onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    this = object()
    try:
        with _lock:
            _several.add(this)  # and so no other begins
            if _single:
                _ended.wait_for(lambda: not _single)
        return F.linear(x, weight, bias)
    finally:
        _several.discard(this)


def _forked() -> None:
    """In a child, which has none of the threads that were multiplying."""
    global _lock, _ended
    if _single:
        torch._C._set_mkldnn_enabled(True)
    _lock = RLock()
    _ended = Condition(_lock)
    _single.clear()
    _several.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
