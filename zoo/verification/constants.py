"""A reference's constants: what it computes once from its config and holds beside its weights, often in float32.

Sinusoids, rotary frequencies and the like are in no file. Where they are rounded to float32 a model in float64 is right
to seven digits only, and whatever is held to it seems wrong by as much.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from zoo.verification.edits import Edit, setting, together
from zoo.verification.exact import Float64

HALF_UNIT = 2.0**-24  # what rounding to float32 moves a number by at most, relative to it


def constants(model: nn.Module) -> dict[str, Tensor]:
    """The floating-point buffers that no file holds, by name."""
    stored = set(model.state_dict())
    return {n: b for n, b in model.named_buffers() if n not in stored and b.is_floating_point() and not b.is_meta}


def recomputed(model: nn.Module) -> dict[str, Tensor]:
    """Constants computed anew in float64, by what the model's own class initialises them with, where it does."""
    found: dict[str, Tensor] = {}
    homes: dict[str, list[str]] = {}
    for name in constants(model):
        homes.setdefault(name.rpartition(".")[0], []).append(name)
    with torch.random.fork_rng(devices=[]), torch.no_grad(), default_float64(), Float64():
        for home, names in homes.items():
            found |= _initialised(model, home, names)
    return found


def holding(model: nn.Module, values: Mapping[str, Tensor]) -> Edit:
    """The model with other constants."""
    return together(
        [setting(model.get_submodule(n.rpartition(".")[0]), **{n.rpartition(".")[2]: x}) for n, x in values.items()]
    )


def shaken(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Constants moved by half a unit of float32, up or down at random; those that are no more exact than that."""
    generator = torch.Generator().manual_seed(0)
    found: dict[str, Tensor] = {}
    for name, x in values.items():
        # What eight bits of mantissa hold (0, 1, a half) is meant as it stands, not rounded.
        is_rounded = (x.float().to(x.dtype) == x) & (x.bfloat16().to(x.dtype) != x)
        if bool(is_rounded.any()):
            signs = torch.randint(2, x.shape, generator=generator).to(x.device) * 2 - 1
            wide = x.double() * (1 + HALF_UNIT * signs)
            found[name] = torch.where(is_rounded, wide, x.double()).to(x.dtype)
    return found


@contextmanager
def default_float64() -> Iterator[None]:
    """Numbers for which no dtype is named are float64."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _initialised(model: nn.Module, home: str, names: list[str]) -> dict[str, Tensor]:
    """The constants of one module; its weights, which initialisation would draw anew, are on meta meanwhile."""
    module, owner = model.get_submodule(home), _owner(model, home)
    initialise = getattr(owner, "_init_weights", None)
    if initialise is None:
        return {}
    leaves = [name.rpartition(".")[2] for name in names]
    # NaN shows which of them initialisation leaves alone.
    blank = {leaf: torch.full_like(getattr(module, leaf), float("nan"), dtype=torch.float64) for leaf in leaves}
    weights = {n: nn.Parameter(p.to("meta"), p.requires_grad) for n, p in module.named_parameters(recurse=False)}
    with setting(module, **weights, **blank)():
        try:
            initialise(module)
        except Exception:  # a third party's, which was not written to be run twice: it leaves NaN behind
            return {}
        found = {name: getattr(module, leaf) for name, leaf in zip(names, leaves, strict=True)}
    return {name: x for name, x in found.items() if not bool(x.isnan().any())}


def _owner(model: nn.Module, home: str) -> nn.Module | None:
    """The innermost model around a module that knows how to initialise it."""
    parts = home.split(".") if home else []
    around = (model.get_submodule(".".join(parts[:n])) for n in range(len(parts), -1, -1))
    return next((module for module in around if hasattr(module, "_init_weights")), None)
