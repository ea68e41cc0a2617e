"""Learning which of two answers is preferred. Shapes: N pairs; log-probabilities are sums over an answer's tokens."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from zoo.errors import UsageError


def reward_loss(chosen: Tensor, rejected: Tensor, *, margin: Tensor | float = 0.0) -> Tensor:
    """Mean of -log sigmoid(r_chosen - r_rejected - margin) over rewards [N]: the model of Bradley and Terry (1952).

    As in InstructGPT (arXiv:2203.02155, eq. 1); the margin is LLaMA 2's (arXiv:2307.09288, eq. 2).
    """
    return -F.logsigmoid(chosen - rejected - margin).mean()


def dpo_loss(
    chosen: Tensor,
    rejected: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    *,
    beta: float = 0.1,
    smoothing: float = 0.0,
) -> Tensor:
    """Direct preference optimisation over log-probabilities [N] of model and reference (arXiv:2305.18290, eq. 7).

    `smoothing` is the share of preferences taken to be the wrong way round (conservative DPO: E. Mitchell, 2023), below
    one half. Raises UsageError for another one.
    """
    if not 0 <= smoothing < 0.5:
        raise UsageError(f"smoothing={smoothing} is not from 0 to below 0.5")
    margin = beta * ((chosen - reference_chosen) - (rejected - reference_rejected))
    return -((1 - smoothing) * F.logsigmoid(margin) + smoothing * F.logsigmoid(-margin)).mean()


def ipo_loss(
    chosen: Tensor, rejected: Tensor, reference_chosen: Tensor, reference_rejected: Tensor, *, beta: float = 0.1
) -> Tensor:
    """Identity preference optimisation, whose `beta` is the paper's tau (arXiv:2310.12036, eq. 17).

    Log-probabilities [N] as in the paper are sums; some give means per token, which the equation does not know.
    """
    margin = (chosen - reference_chosen) - (rejected - reference_rejected)
    return (margin - 1 / (2 * beta)).square().mean()
