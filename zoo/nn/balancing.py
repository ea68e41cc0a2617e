"""How evenly routers send tokens to experts, as a loss to add in training.

Shapes: M tokens, E experts, k experts per token.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo.errors import UsageError
from zoo.nn.moe import Route, SigmoidRouter, SoftmaxRouter


def load_balancing_loss(scores: Tensor, chosen: Tensor) -> Tensor:
    """E * sum of (share of slots) * (mean score) over experts, for scores [M, E] and chosen [M, k].

    The auxiliary loss of Switch Transformers (arXiv:2101.03961, eq. 4), k slots a token counted; 1 when balanced
    and the scores sum to 1.
    """
    num_experts = scores.shape[-1]
    share = torch.bincount(chosen.flatten(), minlength=num_experts).to(scores.dtype) / chosen.numel()
    return num_experts * (share * scores.mean(0)).sum()


def balancing_losses(model: nn.Module, *args: object, **kwargs: object) -> tuple[Tensor, Tensor]:
    """What model(*args, **kwargs) returns, and the mean load-balancing loss of its routers, for training.

    Padding, where an `attention_mask` [B, T] is given by its name, does not count: it is nobody's token.
    Raises UsageError for a model without routers.
    """
    losses: list[Tensor] = []
    mask = kwargs.get("attention_mask")
    is_real = mask.flatten().bool() if isinstance(mask, Tensor) and mask.ndim == 2 else None

    def hook(module: nn.Module, inputs: tuple[Tensor], route: Route) -> None:
        assert isinstance(module, SoftmaxRouter | SigmoidRouter)
        scores, chosen = module.scores(inputs[0]), route[0]
        if is_real is not None and len(is_real) == len(scores):
            scores, chosen = scores[is_real], chosen[is_real]
        losses.append(load_balancing_loss(scores / scores.sum(-1, keepdim=True), chosen))

    routers = [m for m in model.modules() if isinstance(m, SoftmaxRouter | SigmoidRouter)]
    if not routers:
        raise UsageError("the model has no mixture of experts whose load could be balanced")
    handles = [router.register_forward_hook(hook) for router in routers]
    try:
        out = model(*args, **kwargs)
    finally:
        for handle in handles:
            handle.remove()
    return out, torch.stack(losses).mean()
