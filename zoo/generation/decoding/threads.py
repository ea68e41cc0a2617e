"""A model with small matrices, whose passes of few tokens are computed with one thread.

torch shares out every product but that of a single token. Where one takes microseconds, threads wait for each other
longer than they compute: a little on a machine with nothing else to do, many times as long where other work keeps them
waiting, as a server's clients do. Which passes these are depends on the model and the number of tokens alone, so that
texts stay equal wherever they are made.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from zoo.generation.protocols import LanguageModel

SMALL = 1 << 17  # numbers of a matrix on average: those of larger ones take long enough to be read
FEW = 1 << 21  # products of a pass for each matrix, on average: about 50 microseconds for one thread
_sizes: WeakKeyDictionary[Any, int | None] = WeakKeyDictionary()  # once a model, however often it is used


class InOneThread:
    """The model as it is, but for the threads of its small passes."""

    def __init__(self, model: LanguageModel, size: int) -> None:
        """`size` is what `small_size` gave."""
        self.model, self._most = model, FEW // size

    def __call__(self, tokens: Tensor, **named: Any) -> Any:
        if tokens.numel() > self._most:
            return self.model(tokens, **named)
        with one_thread():
            return self.model(tokens, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    @property
    def config(self) -> Any:
        """The family's config."""
        return self.model.config

    def new_cache(self, batch_size: int, max_len: int) -> Any:
        """The model's own."""
        return self.model.new_cache(batch_size, max_len)


def small_size(owner: Any) -> int | None:
    """Numbers of a matrix of this model on average; None where they are large, or not on the CPU."""
    if not isinstance(owner, nn.Module):
        return None
    if owner not in _sizes:
        linear = [m for m in owner.modules() if isinstance(m, nn.Linear)]
        sizes = [m.weight.numel() for m in linear if m.weight.device.type == "cpu"]
        mean = sum(sizes) // len(sizes) if sizes else SMALL
        _sizes[owner] = mean if mean < SMALL else None
    return _sizes[owner]


@contextmanager
def one_thread(is_asked: bool = True) -> Iterator[None]:
    """Compute with one thread meanwhile, if that is asked for."""
    before = torch.get_num_threads()
    if before == 1 or not is_asked:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
