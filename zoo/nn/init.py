"""Random weights."""

from __future__ import annotations

from torch import nn


def initialise(model: nn.Module, std: float = 0.02) -> None:
    """Fill every module in order: matrices N(0, std) as in GPT-2, biases 0, anything else by its own reset_parameters.

    Draws from the current default generator, so that a seed set before decides every weight.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=std)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
        elif module is not model and callable(reset := getattr(module, "reset_parameters", None)):
            reset()
