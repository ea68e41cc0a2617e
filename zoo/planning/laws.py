"""Compute-optimal parameters N and tokens D for C FLOPs of training, by the laws that were published.

Chinchilla (Hoffmann et al., 2022, arXiv:2203.15556) fits N ~ C^a three times, with C = 6 N D: along the lowest of all
training curves (a = 0.50), along the minima of curves of equal FLOPs (a = 0.49), and from the parametric loss
E + A / N^alpha + B / D^beta (a = 0.46; equation 10: E = 1.69, A = 406.4, B = 410.7, alpha = 0.34, beta = 0.28). The
exponents are those of its table 2. The factors are those that give the sizes which the paper states for Gopher's
budget of 5.76e23 FLOPs: 67B, 63B and 40B parameters.

LLaMA 3 (Grattafiori et al., 2024, arXiv:2407.21783, section 3.2.1) fits the tokens, D = 0.29 C^0.53, and states 402B
parameters on 16.55T tokens for 3.8e25 FLOPs. The two digits that are printed give 10.5T tokens there, so the law here
has the exponent that is printed and goes through the point that is stated, where a token costs 5.71 FLOPs a parameter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from zoo.errors import UsageError

GOPHER = 5.76e23  # FLOPs
LLAMA3 = (3.8e25, 402e9, 16.55e12)  # FLOPs, parameters, tokens
E, A, B, ALPHA, BETA = 1.69, 406.4, 410.7, 0.34, 0.28
FLOPS = 6.0  # of training, per parameter and token (Kaplan et al., 2020, arXiv:2001.08361)
RANGE = (1e15, 1e32)  # FLOPs for which anybody asks; the laws were fitted from 1e18 to 1e22


@dataclass(frozen=True)
class Optimum:
    """What a law says is best for a budget."""

    law: str
    parameters: float
    tokens: float

    @property
    def ratio(self) -> float:
        """Tokens for each parameter."""
        return self.tokens / self.parameters


@dataclass(frozen=True)
class ScalingLaw:
    """A law by its name and source; `parameters` says how many for a budget, of which each token costs `flops`."""

    name: str
    source: str
    parameters: Callable[[float], float]
    flops: float = FLOPS

    def optimum(self, budget: float) -> Optimum:
        """The best size for `budget` FLOPs, and the tokens that are left for it."""
        n = self.parameters(budget)
        return Optimum(self.name, n, budget / (self.flops * n))


def _through(budget: float, parameters: float, exponent: float) -> Callable[[float], float]:
    """The power law through one point."""
    return lambda c: parameters * (c / budget) ** exponent


def _llama3(budget: float) -> float:
    c, n, d = LLAMA3
    tokens = d * (budget / c) ** 0.53
    return budget / (c / (n * d) * tokens)


LAWS = (
    ScalingLaw("chinchilla 1", "lowest training curves, arXiv:2203.15556", _through(GOPHER, 67e9, 0.50)),
    ScalingLaw("chinchilla 2", "curves of equal FLOPs, arXiv:2203.15556", _through(GOPHER, 63e9, 0.49)),
    ScalingLaw("chinchilla 3", "parametric loss, arXiv:2203.15556", _through(GOPHER, 40e9, 0.46)),
    ScalingLaw("llama 3", "arXiv:2407.21783", _llama3, LLAMA3[0] / (LLAMA3[1] * LLAMA3[2])),
)


def loss(parameters: float, tokens: float) -> float:
    """Chinchilla's parametric loss in nats per token of its own text: a comparison, not a forecast for yours."""
    return E + A / parameters**ALPHA + B / tokens**BETA


def check_budget(budget: float) -> float:
    """The budget, if anybody could mean it. Raises UsageError."""
    if not RANGE[0] <= budget <= RANGE[1]:
        raise UsageError(f"{budget:g} FLOPs is not a budget from {RANGE[0]:g} to {RANGE[1]:g}")
    return budget
