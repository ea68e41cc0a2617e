"""peft, opened in one place: its layers put into a model of zoo, in the model's own tree, and found there again."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import Any

from torch import nn

from zoo.errors import MissingExtra
from zoo.nn.packed import PackedLinear

NAME = "default"  # what peft calls an adapter that nobody named
INNER = "base_layer"


def library(purpose: str = "an adapter", name: str = "peft") -> Any:
    """The package, or a module of it. Raises MissingExtra where it is not installed."""
    try:
        with _nothing_fetched():
            return import_module(name)
    except ImportError:
        raise MissingExtra("peft", "adapters", purpose) from None


@contextmanager
def _nothing_fetched() -> Iterator[None]:
    """For an import of peft: it imports bitsandbytes, which has the package `kernels` fetch code from the hub."""
    found, log = sys.modules.get("kernels"), logging.getLogger("bitsandbytes")
    level = log.level
    sys.modules["kernels"] = None  # type: ignore[assignment]  # to import it is then an ImportError, which is caught
    log.setLevel(logging.ERROR)  # it warns of that
    try:
        yield
    finally:
        log.setLevel(level)
        del sys.modules["kernels"]
        if found is not None:
            sys.modules["kernels"] = found


def inject(model: nn.Module, config: Any) -> None:
    """Wrap the modules that a config of peft names, and freeze all else."""
    if hasattr(config, "_register_custom_module"):
        config._register_custom_module({PackedLinear: packed_layer()})
    packed = [module for module in model.modules() if isinstance(module, PackedLinear)]
    for module in packed:
        module.__dict__["qweight"] = module.like  # where peft looks for the device of a packed matrix
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is wrong, zoo has looked for before
            library().inject_adapter_in_model(config, model, NAME)
    finally:
        for module in packed:
            del module.__dict__["qweight"]


@cache
def packed_layer() -> type[Any]:
    """The class of a low-rank product beside a packed matrix, which neither learns nor can take the product in."""
    linear: Any = library(name="peft.tuners.lora").Linear

    class PackedLoraLinear(linear):
        def _get_in_out_features(self, module: Any) -> tuple[int, int]:
            return module.in_features, module.out_features

        def _get_base_layer_device_and_dtype(self, base_layer: Any) -> tuple[Any, Any]:
            return base_layer.like.device, base_layer.like.dtype

    PackedLoraLinear.__qualname__ = "PackedLoraLinear"  # where pickle finds it: see __getattr__
    return PackedLoraLinear


def __getattr__(name: str) -> Any:
    if name == "PackedLoraLinear":
        return packed_layer()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def adapted(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """The layers of peft in a model, by the names that their modules have without them; the outermost first.

    Several that stand around one module, for several of its parameters, come under the same name.
    """
    for name, module in model.named_modules():
        if hasattr(module, INNER) and hasattr(module, "adapter_layer_names"):
            yield plain_name(name), module


@contextmanager
def without_adapter(model: nn.Module) -> Iterator[nn.Module]:
    """The model as its base computes, for as long as this lasts; what learns learns again afterwards."""
    layers = [layer for _, layer in adapted(model)]
    learning = [(p, p.requires_grad) for layer in layers for p in layer.parameters()]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield model
    finally:
        for layer in layers:
            layer.enable_adapters(True)
        for parameter, does_learn in learning:
            parameter.requires_grad_(does_learn)


def plain_name(name: str) -> str:
    """A name in an adapted model as the model has it without the adapter."""
    return ".".join(part for part in name.split(".") if part != INNER)


def is_adapted(model: nn.Module) -> bool:
    """Whether a layer of peft stands in the model. Does not import peft."""
    return any(hasattr(module, INNER) and hasattr(module, "adapter_layer_names") for module in model.modules())
