"""What keeps a mixture's experts busy alike, beside `zoo.nn.load_balancing_loss`.

Shapes: M tokens, E experts.
"""

from __future__ import annotations

from torch import Tensor

from zoo.nn.norm import at_least_float32


def router_z_loss(logits: Tensor) -> Tensor:
    """Mean squared log-sum-exp of a router's logits [M, E], to keep them small (ST-MoE, arXiv:2202.08906, eq. 5)."""
    return at_least_float32(logits).logsumexp(-1).square().mean()


def balanced_bias(bias: Tensor, counts: Tensor, *, rate: float) -> Tensor:
    """The selection bias [E] after a step in which expert e got counts[e] tokens (arXiv:2408.15664, algorithm 1).

    Experts with fewer than the mean go up by `rate`, those with more go down: the balancing of DeepSeek-V3
    (arXiv:2412.19437, 2.1.2), which needs no gradient.
    """
    counts = at_least_float32(counts)
    return bias + rate * (counts.mean() - counts).sign().to(bias.dtype)
