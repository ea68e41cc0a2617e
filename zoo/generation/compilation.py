"""A model whose steps of one token run as one compiled graph, over any length and number of rows.

A step does little work and many small operations; torch.compile fuses them. Prompts are read into a cache uncompiled:
there the products of matrices take the time.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from types import FunctionType
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.fx.experimental import _config as config

from zoo.errors import UsageError
from zoo.generation.protocols import LanguageModel, device_of

_compiled: WeakKeyDictionary[Any, CompiledPasses] = WeakKeyDictionary()  # once a model, however often it is used


class CompiledReader:
    """The contract of a decoder over a model whose steps of one token, and passes without a cache, are compiled.

    That is done when the first of them comes. `owner` holds the weights: the model itself, or the encoder-decoder whose
    decoder it is. One row and several are two graphs, and so are padded rows and others, since torch takes a size of 1
    for a constant; nothing else is compiled again. torch keeps what it compiled in files, for other processes.
    Raises UsageError where there is no compiler.
    """

    def __init__(self, model: LanguageModel, owner: Any) -> None:
        check_compiler(device_of(model))
        if owner not in _compiled:
            _compiled[owner] = CompiledPasses()
        self.model, self.config, self._passes = model, model.config, _compiled[owner]
        self._before = self._passes.seconds

    @property
    def seconds(self) -> float:
        """That compiling took since this was made."""
        return self._passes.seconds - self._before

    def __call__(
        self,
        tokens: Tensor,
        *,
        attention_mask: Tensor | None = None,
        cache: Any = None,
        last: bool = False,
        **inputs: Any,
    ) -> Tensor:
        if attention_mask is None and not inputs:
            if cache is None and not last:
                return self._passes.run(self._passes.whole, self.model, tokens)
            # A length of 0 or 1 and a cache that becomes full would each be a graph of its own.
            if tokens.shape[1] == 1 and cache is not None and 2 <= cache.length < cache.max_len - 1:
                return self._passes.run(self._passes.step, self.model, tokens.contiguous(), cache)
        return self.model(tokens, attention_mask=attention_mask, cache=cache, last=last, **inputs)

    def new_cache(self, batch_size: int, max_len: int) -> Any:
        """A cache with room for a token that never comes, so that it is never full."""
        return self.model.new_cache(batch_size, max_len + 1)

    def parameters(self) -> Any:
        """The model's weights."""
        return self.model.parameters()  # pyrefly: ignore[missing-attribute]

    def modules(self) -> Any:
        """The model's parts."""
        return self.model.modules()  # pyrefly: ignore[missing-attribute]


def check_compiler(device: torch.device) -> None:
    """Raise UsageError where torch cannot compile for this device."""
    from torch._inductor.config import cpp

    if not hasattr(torch, "compile"):
        raise UsageError("compile=True needs a newer torch", hint="generate without it")
    names = [name for name in cpp.cxx if name]
    if not any(map(shutil.which, names)):
        raise UsageError(
            f"compile=True needs a C++ compiler, and {' or '.join(names)} is not on the PATH",
            hint="install g++, name another compiler in the environment variable CXX, or go without compile",
        )
    if device.type == "cuda":
        from torch.utils._triton import has_triton

        if not has_triton():
            raise UsageError("compile=True needs triton on CUDA, and it is not installed", hint="pip install triton")


class CompiledPasses:
    """What is compiled of one model, and the seconds that it took."""

    def __init__(self) -> None:
        self.step, self.whole = _own(_step), _own(_whole)
        self.seconds = 0.0

    def run(self, compiled: Callable[..., Tensor], *arguments: Any) -> Tensor:
        """A pass, which is compiled first if it is of a new kind."""
        before, start = _num_graphs(), time.perf_counter()
        # Sizes that are equal by chance are not taken for one size.
        with config.patch(use_duck_shape=False):  # pyrefly: ignore[missing-attribute]  # installed at import
            logits = compiled(*arguments)
        if _num_graphs() > before:
            self.seconds += time.perf_counter() - start
        return logits


def compile_seconds(owner: Any) -> float | None:
    """Seconds that were spent on compiling for a model; None where it never was."""
    return _compiled[owner].seconds if owner in _compiled else None


def _own(function: FunctionType) -> Callable[..., Tensor]:
    # torch counts the graphs of each code object and gives up after a few: every model has one of its own.
    own = FunctionType(function.__code__.replace(), function.__globals__)
    return torch.compile(own, dynamic=True, fullgraph=True)


def _step(model: LanguageModel, tokens: Tensor, cache: Any) -> Tensor:
    return model(tokens, cache=cache, last=True)


def _whole(model: LanguageModel, tokens: Tensor) -> Tensor:
    return model(tokens)


def _num_graphs() -> int:
    from torch._dynamo.utils import counters

    return counters["stats"]["unique_graphs"]
