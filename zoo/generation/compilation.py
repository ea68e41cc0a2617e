"""A model whose steps of one token run as one compiled graph, over any length and number of rows.

A step does little work and many small operations; torch.compile fuses them. Prompts are read into a cache uncompiled:
there the products of matrices take the time. What torch checks at every call, whether the layers are still what was
compiled, is checked once for a text: that took as long as the layers.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from types import FunctionType
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.fx.experimental import _config as config

from zoo.errors import UsageError
from zoo.generation.decoding.recording import RecordedReader
from zoo.generation.protocols import LanguageModel, device_of

_compiled: WeakKeyDictionary[Any, CompiledPasses] = WeakKeyDictionary()  # once a model, however often it is used


def compiled(model: LanguageModel, owner: Any, how: bool | str = True) -> LanguageModel:
    """The model with its steps of one token compiled, and on a GPU recorded as a CUDA graph; "graph": recorded alone.

    Raises UsageError where that cannot be.
    """
    if how not in (True, "graph"):
        raise UsageError(f"compile={how!r} is neither True nor 'graph'")
    device = device_of(model)
    if how == "graph" and device.type != "cuda":
        raise UsageError(f"compile='graph' needs a model on cuda, and this is on {device}", hint="compile=True")
    reader: Any = model if how == "graph" else CompiledReader(model, owner)
    if device.type == "cuda":
        reader = RecordedReader(reader)
    return reader


class CompiledReader:
    """The contract of a decoder over a model whose steps of one token, and passes without a cache, are compiled.

    That is done when the first of them comes. `owner` holds the weights: the model itself, or the encoder-decoder whose
    decoder it is. One row and several are two graphs, and so are padded rows and others, since torch takes a size of 1
    for a constant; nothing else is compiled again. torch keeps what it compiled in files, for other processes.
    Raises UsageError where there is no compiler.
    """

    def __init__(self, model: LanguageModel, owner: Any) -> None:
        check_compiler(device_of(model))
        state = state_of(owner)
        if owner not in _compiled:
            _compiled[owner] = CompiledPasses(state, device_of(model))
        elif _compiled[owner].state != state:  # other weights' types, a layer replaced: all of it is compiled again
            _compiled[owner] = CompiledPasses(state, device_of(model), seconds=_compiled[owner].seconds)
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
    """What is compiled of one model in a certain state, and the seconds that it took."""

    def __init__(self, state: State, device: torch.device, *, seconds: float = 0.0) -> None:
        self.step, self.whole = _own(_step, device), _own(_whole, device)
        self.state, self.seconds = state, seconds
        self._seen: set[tuple[Any, ...]] = set()

    def run(self, compiled: Callable[..., Tensor], model: LanguageModel, tokens: Tensor, *cache: Any) -> Tensor:
        """A pass, which is compiled first if it is of a new kind."""
        kind = compiled, len(tokens) > 1, *(held.counts is None for held in cache)
        if kind in self._seen:
            return self._timed(compiled, model, tokens, *cache)
        self._seen.add(kind)
        from torch._dynamo import config as dynamo_config  # 800 modules

        # Sizes that are equal by chance are not taken for one size, nor numbers such as eps for ones that change.
        floats = dynamo_config.patch(specialize_float=True)  # pyrefly: ignore[missing-attribute]  # as the next
        with floats, config.patch(use_duck_shape=False):  # pyrefly: ignore[missing-attribute]  # installed at import
            return self._timed(compiled, model, tokens, *cache)

    def _timed(self, compiled: Callable[..., Tensor], *arguments: Any) -> Tensor:
        before, start = _num_graphs(), time.perf_counter()
        logits = compiled(*arguments)
        if _num_graphs() > before:
            self.seconds += time.perf_counter() - start
        return logits


State = list[tuple[Any, ...]]


def state_of(owner: nn.Module) -> State:
    """All of a model that a graph takes for granted: its layers, what they hold beside tensors, the tensors' kinds."""
    found: State = []
    for name, module in owner.named_modules():
        tensors = [*module._parameters.items(), *module._buffers.items()]
        kinds = [(key, None if t is None else (t.shape, t.dtype, t.device)) for key, t in tensors]
        found.append((name, id(module), kinds, [(key, _held(value)) for key, value in vars(module).items()]))
    return found


def _held(value: Any) -> Any:
    """A number or word itself; of all else which object it is, and what it holds, as a dictionary of hooks."""
    if isinstance(value, int | float | str | None):
        return value
    if isinstance(value, dict):  # a hook that took another's place has a number of its own
        return id(value), [(key, id(item)) for key, item in value.items()]
    return id(value), [id(item) for item in value] if isinstance(value, list) else None


def compile_seconds(owner: Any) -> float | None:
    """Seconds that were spent on compiling for a model; None where it never was."""
    return _compiled[owner].seconds if owner in _compiled else None


def _own(function: FunctionType, device: torch.device) -> Callable[..., Tensor]:
    # torch counts the graphs of each code object and gives up after a few: every model has one of its own.
    own = FunctionType(function.__code__.replace(), function.__globals__)
    # What calls the kernels is compiled too on a CPU, where it would take as long as they do.
    options: dict[str, Any] = {"size_asserts": False, "cpp_wrapper": device.type == "cpu"}
    if device.type == "cpu":
        from zoo.generation.one_row import OneRow  # a part of torch that only compiling needs

        options["post_grad_custom_pre_pass"] = OneRow()
    if hasattr(torch.compiler, "skip_guard_on_all_nn_modules_unsafe"):  # a torch that can leave out guards
        options["guard_filter_fn"] = lambda guards: [not guard.name.startswith(OF_LAYERS) for guard in guards]
    return torch.compile(own, dynamic=True, fullgraph=True, options=options)


OF_LAYERS = "model._modules[", "L['model']._modules["  # what `state_of` looks at instead; torch writes it either way


def _step(model: LanguageModel, tokens: Tensor, cache: Any) -> Tensor:
    return model(tokens, cache=cache, last=True)


def _whole(model: LanguageModel, tokens: Tensor) -> Tensor:
    return model(tokens)


def _num_graphs() -> int:
    from torch._dynamo.utils import counters

    return counters["stats"]["unique_graphs"]
