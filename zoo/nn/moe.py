"""Mixtures of experts: which experts a token goes to, and only those computed.

Shapes: B batch, T tokens in time, M = B*T, D hidden, F expert width, E experts, k experts per token.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.anatomy.cuts import STACKED_EXPERTS
from zoo.nn.compute import unchanged
from zoo.nn.grouped import Grouped, can_group
from zoo.nn.mlp import Activation
from zoo.nn.norm import at_least_float32
from zoo.nn.places import has_values
from zoo.nn.products import times

Route = tuple[Tensor, Tensor]  # chosen experts [M, k] and their weights [M, k]


class MoE(nn.Module):
    """Routed experts, and shared ones that every token passes through (arXiv:2101.03961, arXiv:2401.06066)."""

    def __init__(
        self, router: nn.Module, experts: Experts, shared: nn.Module | None = None, shared_gate: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.router, self.experts, self.shared, self.shared_gate = router, experts, shared, shared_gate

    def forward(self, x: Tensor) -> Tensor:
        """x [B, T, D] to [B, T, D]."""
        flat = x.flatten(0, 1)
        out = self.experts(flat, *self.router(flat)).view_as(x)
        if self.shared is None:
            return out
        shared = self.shared(x)
        return out + (shared if self.shared_gate is None else shared * self.shared_gate(x).sigmoid())


class Experts(nn.Module):
    """E gated MLPs, down(act(gate(x)) * up(x)), their weights stacked."""

    cuts = STACKED_EXPERTS
    enter = leave = staticmethod(unchanged)

    def __init__(self, num_experts: int, hidden_size: int, intermediate_size: int, act: Activation = F.silu) -> None:
        super().__init__()
        self.num_experts = num_experts
        self.gate_proj = nn.Parameter(torch.empty(num_experts, intermediate_size, hidden_size))
        self.up_proj = nn.Parameter(torch.empty(num_experts, intermediate_size, hidden_size))
        self.down_proj = nn.Parameter(torch.empty(num_experts, hidden_size, intermediate_size))
        self.act = act
        self.reset_parameters()

    def reset_parameters(self) -> None:
        for weight in self.parameters():
            nn.init.normal_(weight, std=0.02)

    def forward(self, x: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
        """The weighted sum over each token's experts: x [M, D], chosen [M, k], weights [M, k] to [M, D]."""
        x, weights = self.enter(x), self.enter(weights)
        return self.leave(self._way(x, chosen)(x, chosen, weights))

    def _way(self, x: Tensor, chosen: Tensor) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        """How the sum is computed: all give it, and each is the fastest somewhere."""
        if not has_values(x):
            return self._gathered
        if (len(x) > 1 or x.is_cuda) and can_group(x, self.stacks()):
            return self._grouped
        if x.is_cuda and chosen.numel() <= self.num_experts and not torch.is_grad_enabled():
            return self._gathered  # Python need not wait for the choice
        return self._of_one if len(x) == 1 else self._visited

    def _of_one(self, x: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
        """The sum of one token, which needs no order."""
        stacks = self.stacks()
        return weights.to(x.dtype) @ torch.cat([self._expert(x, *(s[e] for s in stacks)) for e in chosen[0].tolist()])

    def _grouped(self, x: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
        """The sum by products over tokens that are sorted by expert, for which torch has a kernel."""
        order = chosen.flatten().argsort(stable=True)
        tokens = order // chosen.shape[1]
        each = torch.arange(self.num_experts, device=x.device)
        ends = torch.searchsorted(chosen.flatten()[order], each, right=True, out_int32=True)
        groups: Any = [Grouped(stack, ends) for stack in self.stacks()]
        h = self._expert(x[tokens], *groups)
        return torch.zeros_like(x).index_add_(0, tokens, h * weights.flatten()[order, None].to(x.dtype))

    def _visited(self, x: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
        """The sum, expert by expert, of those that were chosen."""
        order = chosen.flatten().argsort(stable=True)
        tokens = order // chosen.shape[1]
        inputs, scale = x[tokens], weights.flatten()[order, None].to(x.dtype)
        experts, counts = torch.unique_consecutive(chosen.flatten()[order], return_counts=True)
        out, start = torch.zeros_like(x), 0
        for e, count in zip(experts.tolist(), counts.tolist(), strict=True):
            end = start + count
            h = self._expert(inputs[start:end], *(stack[e] for stack in self.stacks()))
            out.index_add_(0, tokens[start:end], h * scale[start:end])
            start = end
        return out

    def _gathered(self, x: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
        """The same with shapes that do not depend on the data, for tracing: each slot brings its expert's weights."""
        picked = (stack[chosen.flatten()] for stack in self.stacks())
        h = self._expert(x.repeat_interleave(chosen.shape[1], 0)[:, None], *picked)  # [M*k, 1, D]
        return (h.view(*chosen.shape, -1) * weights[..., None].to(x.dtype)).sum(1)

    def stacks(self) -> tuple[Tensor, ...]:
        """What each expert has one of; `_expert` takes them in this order."""
        return self.gate_proj, self.up_proj, self.down_proj

    def _expert(self, x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
        return times(self.act(times(x, gate)) * times(x, up), down)


class SoftmaxRouter(nn.Module):
    """Softmax over all experts, then the k largest; `is_renormalised` makes the k weights sum to 1.

    `num_groups` experts groups of which `groups_per_token` are kept by their best expert (DeepSeek-V2,
    arXiv:2405.04434); 1 group keeps all. `scale` multiplies the weights.
    """

    def __init__(
        self,
        hidden_size: int,
        num_experts: int,
        experts_per_token: int,
        *,
        is_renormalised: bool,
        num_groups: int = 1,
        groups_per_token: int = 1,
        scale: float = 1.0,
        is_float32: bool = False,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_experts, hidden_size))
        self.experts_per_token, self.is_renormalised, self.scale = experts_per_token, is_renormalised, scale
        self.num_groups, self.groups_per_token, self.is_float32 = num_groups, groups_per_token, is_float32
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=0.02)

    def scores(self, x: Tensor) -> Tensor:
        """Probabilities [M, E] in float32 at least; `is_float32` computes the logits there too, as DeepSeek does."""
        if self.is_float32:
            return F.linear(at_least_float32(x), at_least_float32(self.weight)).softmax(-1)
        return at_least_float32(F.linear(x, self.weight)).softmax(-1)

    def forward(self, x: Tensor) -> Route:
        """The route of each token of x [M, D]."""
        scores = self.scores(x)
        kept = scores
        if self.num_groups > 1:
            best = scores.unflatten(-1, (self.num_groups, -1)).amax(-1)
            kept = scores.masked_fill(~in_best_groups(best, self.groups_per_token, scores.shape[-1]), 0.0)
        weights, chosen = kept.topk(self.experts_per_token, -1)
        if self.is_renormalised:
            weights = weights / weights.sum(-1, keepdim=True)
        return chosen, weights * self.scale


class SigmoidRouter(nn.Module):
    """DeepSeek-V3's router (arXiv:2412.19437): sigmoid scores, a bias that steers the choice and never the weights.

    Groups are ranked by the sum of their two best biased scores; the others are masked with -inf, as the released
    code does. The k weights are normalised (with 1e-20 added, as there) and multiplied by `scale`.
    """

    def __init__(
        self,
        hidden_size: int,
        num_experts: int,
        experts_per_token: int,
        *,
        is_renormalised: bool = True,
        num_groups: int = 1,
        groups_per_token: int = 1,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_experts, hidden_size))
        self.bias = nn.Parameter(torch.zeros(num_experts), requires_grad=False)  # set by load balancing, not gradients
        self.experts_per_token, self.is_renormalised, self.scale = experts_per_token, is_renormalised, scale
        self.num_groups, self.groups_per_token = num_groups, groups_per_token
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=0.02)
        nn.init.zeros_(self.bias)

    def scores(self, x: Tensor) -> Tensor:
        """Affinities [M, E] in float32 at least."""
        return F.linear(at_least_float32(x), at_least_float32(self.weight)).sigmoid()

    def forward(self, x: Tensor) -> Route:
        """The route of each token of x [M, D]."""
        scores = self.scores(x)
        biased = scores + self.bias
        if self.num_groups > 1:
            best = biased.unflatten(-1, (self.num_groups, -1)).topk(2, -1).values.sum(-1)
            kept = in_best_groups(best, self.groups_per_token, biased.shape[-1])
            biased = biased.masked_fill(~kept, float("-inf"))
        chosen = biased.topk(self.experts_per_token, -1).indices
        weights = scores.gather(-1, chosen)
        if self.is_renormalised:
            weights = weights / (weights.sum(-1, keepdim=True) + 1e-20)
        return chosen, weights * self.scale


def in_best_groups(group_scores: Tensor, kept: int, num_experts: int) -> Tensor:
    """True [M, E] for the experts of each token's `kept` best groups, group_scores [M, G]."""
    best = torch.zeros_like(group_scores, dtype=torch.bool).scatter_(-1, group_scores.topk(kept, -1).indices, True)
    return best.repeat_interleave(num_experts // group_scores.shape[-1], -1)
