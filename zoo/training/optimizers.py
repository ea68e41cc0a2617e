"""The rules of torch.optim by name, with weight decay where it belongs and of the kind that is asked for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from zoo.errors import UsageError, clean
from zoo.nn.norm import HeadLayerNorm
from zoo.nn.position import RelativeBias
from zoo.training.settings import OptimizerSettings, one_of

RULES: dict[str, tuple[type[Optimizer], tuple[str, ...]]] = {  # and the numbers that each takes
    "adamw": (torch.optim.AdamW, ("betas", "eps")),
    "adam": (torch.optim.Adam, ("betas", "eps")),
    "sgd": (torch.optim.SGD, ("momentum", "nesterov")),
    "adagrad": (torch.optim.Adagrad, ("eps",)),
    "rmsprop": (torch.optim.RMSprop, ("alpha", "eps", "momentum")),
}

WITHOUT = (RelativeBias, HeadLayerNorm)  # biases and norms of two dimensions: one row for each head


def make_optimizer(model: nn.Module, settings: OptimizerSettings) -> Optimizer:
    """The optimizer of a model's parameters that learn: matrices with weight decay, norms and biases without.

    Decoupled decay (arXiv:1711.05101) shrinks the weights by lr * weight_decay in each step; l2 adds weight_decay times
    the weights to the gradient, which the rule then scales. Raises UsageError for a rule that there is not, and where
    nothing learns.
    """
    one_of("optimizer.name", settings.name, tuple(RULES))
    if settings.name == "adamw" and settings.decay != "decoupled":
        raise UsageError("AdamW's weight decay is decoupled", hint="type optimizer=adam optimizer.decay=l2")
    kind, names = RULES[settings.name]
    numbers = {name: value for name in names if (value := getattr(settings, name)) is not None}
    kept = decayed(model)
    groups = [
        (True, [p for p in learning(model) if id(p) in kept]),
        (False, [p for p in learning(model) if id(p) not in kept]),
    ]
    if not any(parameters for _, parameters in groups):
        raise UsageError("no parameter learns", hint="freeze fewer of them")
    is_ours = settings.decay == "decoupled" and settings.name != "adamw"  # torch has it for AdamW alone by default
    made: list[dict[str, Any]] = [
        {
            "params": parameters,
            "weight_decay": settings.weight_decay if has_decay and not is_ours else 0.0,
            "shrink": settings.weight_decay if has_decay and is_ours else 0.0,
        }
        for has_decay, found in groups
        for parameters in by_layout(found)
    ]
    try:
        return kind(made, lr=settings.lr, **numbers)  # type: ignore[call-arg]  # each has lr and the numbers above
    except ValueError as error:
        raise UsageError(f"optimizer={settings.name}: {clean(error, 120)}") from None


def by_layout(parameters: list[nn.Parameter]) -> list[list[nn.Parameter]]:
    """Those that lie over ranks in the same way together: a rule of torch takes no others in one list."""
    groups: dict[str, list[nn.Parameter]] = {}
    for parameter in parameters:
        groups.setdefault(repr(getattr(parameter, "device_mesh", "")), []).append(parameter)
    return list(groups.values())


@torch.no_grad()
def shrink(optimizer: Optimizer) -> None:
    """Decoupled decay, for the rules that have none of their own: before the step, as AdamW does it."""
    for group in optimizer.param_groups:
        if group["shrink"]:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.mul_(1 - group["lr"] * group["shrink"])


def learning(model: nn.Module) -> Iterable[nn.Parameter]:
    """The parameters that learn, each once."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def decayed(model: nn.Module) -> set[int]:
    """The ids of parameters with weight decay: those of two dimensions or more, but for biases and norms."""
    without = {id(p) for module in model.modules() if isinstance(module, WITHOUT) for p in module.parameters()}
    return {
        id(p)
        for name, p in model.named_parameters()
        if p.ndim > 1 and not name.endswith("bias") and id(p) not in without
    }
