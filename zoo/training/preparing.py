"""What is done to a model before its first step: what stays as it is, what is computed again, what is compiled."""

from __future__ import annotations

from fnmatch import fnmatch
from functools import partial
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from zoo.adapters.making import adapt
from zoo.adapters.peft_library import is_adapted
from zoo.anatomy.config import ModelConfig, NoAnatomy
from zoo.errors import UsageError, did_you_mean
from zoo.training.settings import Recipe


def prepare(model: nn.Module, recipe: Recipe) -> nn.Module:
    """Adapt or freeze, recompute and compile as the recipe says; what is given back is what is trained.

    Meshes come in here: the optimizer is not made yet.
    """
    if recipe.lora.rank is None:
        freeze(model, recipe.freeze)
    elif not is_adapted(model):  # else by an earlier stage, whose adapter goes on learning
        adapt(model, recipe.lora.adaptation(recipe.seed))
    recompute(model, recipe.train.recompute)
    if recipe.train.compile:
        model.compile()
    return model


def freeze(model: nn.Module, what: tuple[str, ...]) -> list[str]:
    """Let all learn but the parameters of these roles or of names that match; the names of those that stay.

    A role is one of the anatomy's (attention, mlp, embedding, vision, ...), a pattern such as `layers.0.*` is one of
    parameter names; with ! before it, what it names learns after all. Raises UsageError for one that names none.
    """
    roles = roles_of(model)
    names = [name for name, _ in model.named_parameters()]
    frozen: set[str] = set()
    for word in what:
        wanted = word.removeprefix("!")
        found = {name for name in names if roles.get(name) == wanted or fnmatch(name, wanted)}
        if not found:
            known = sorted({*roles.values(), *(name.partition(".")[0] + ".*" for name in names)})
            raise UsageError(f"freeze={word!r} names no parameter", why=did_you_mean(wanted, known))
        frozen = frozen - found if word.startswith("!") else frozen | found
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name not in frozen)
    return sorted(frozen)


def roles_of(model: nn.Module) -> dict[str, str]:
    """The role of each parameter by its name; empty for a family that describes no anatomy."""
    config: Any = model.config
    assert isinstance(config, ModelConfig)
    try:
        weights = config.anatomy().weights
    except NoAnatomy:
        return {}
    return {name: weight.role for weight in weights for name in weight.names()}


def recompute(model: nn.Module, is_wanted: bool = True) -> None:
    """Let each layer keep its input alone and be computed again in the backward pass: the same numbers, less memory."""
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and name.rpartition(".")[2] == "layers":
            for layer in module:
                layer.__dict__.pop("forward", None)  # of an earlier stage
                if is_wanted:
                    layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)
