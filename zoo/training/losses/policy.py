"""Learning from rewards: advantages, and the clipped objectives of PPO and GRPO.

Shapes: B sequences, T tokens. `mask` [B, T] is True for the tokens that the model chose itself. Log-probabilities and
advantages are per token, [B, T]; those of the policy that sampled, and of the reference, carry no gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.errors import UsageError
from zoo.nn.norm import at_least_float32


def advantages(rewards: Tensor, values: Tensor, mask: Tensor, *, gamma: float = 1.0, lam: float = 0.95) -> Tensor:
    """Generalised advantage estimates [B, T] of rewards and values [B, T] (arXiv:1506.02438, eq. 16).

    Tokens outside `mask` are passed over: what follows them counts as if it stood beside. After a sequence's last
    token the value is 0. The values that a critic should learn are these plus `values`.
    """
    out = torch.zeros_like(at_least_float32(values))
    later = following = out.new_zeros(len(values))
    for t in reversed(range(values.shape[1])):
        here = mask[:, t]
        found = rewards[:, t] + gamma * following - values[:, t] + gamma * lam * later
        out[:, t] = found.where(here, 0.0)
        later, following = found.where(here, later), values[:, t].where(here, following)
    return out


def group_advantages(rewards: Tensor, *, eps: float = 1e-4) -> Tensor:
    """How much better than its group each answer is, [N, G] for rewards [N, G] of G answers to each of N prompts.

    (r - mean) / (std + eps) within the group (DeepSeekMath, arXiv:2402.03300, 4.1.2), with the standard deviation of a
    sample, of G - 1. Raises UsageError for a group of one.
    """
    if rewards.shape[-1] < 2:
        raise UsageError("a group of one answer has no better and no worse one")
    return (rewards - rewards.mean(-1, keepdim=True)) / (rewards.std(-1, keepdim=True) + eps)


def clipped_loss(new: Tensor, old: Tensor, advantage: Tensor, mask: Tensor, *, clip: float = 0.2) -> Tensor:
    """Minus PPO's clipped objective, mean over the tokens of `mask` (arXiv:1707.06347, eq. 7)."""
    return (_clipped(new, old, advantage, clip).where(mask, 0.0).sum() / _count(mask)).neg()


def grouped_loss(
    new: Tensor,
    old: Tensor,
    reference: Tensor,
    advantage: Tensor,
    mask: Tensor,
    *,
    clip: float = 0.2,
    beta: float = 0.04,
) -> Tensor:
    """Minus GRPO's objective: PPO's clipped one with `beta` times the divergence from the reference within.

    Mean over an answer's tokens first, then over the answers (DeepSeekMath, arXiv:2402.03300, eq. 3); `advantage` [B]
    is an answer's, of `group_advantages`. Raises UsageError for an answer without tokens.
    """
    each = _clipped(new, old, advantage[:, None], clip) - beta * kl_estimate(new, reference)
    counts = mask.sum(1)
    if not bool(counts.all()):
        raise UsageError("an answer has no token that the model chose")
    return (each.where(mask, 0.0).sum(1) / counts).mean().neg()


def kl_estimate(new: Tensor, reference: Tensor) -> Tensor:
    """An estimate of KL(new || reference) per token from log-probabilities of what `new` chose, never below 0.

    exp(d) - d - 1 with d = reference - new: without bias, and of low variance (J. Schulman, 2020, k3).
    """
    d = reference - new
    return d.exp() - d - 1


def _clipped(new: Tensor, old: Tensor, advantage: Tensor, clip: float) -> Tensor:
    ratio = (new - old).exp()
    return torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)


def _count(mask: Tensor) -> Tensor:
    count = mask.sum()
    if not count:
        raise UsageError("no token of the mask was chosen by the model")
    return count
