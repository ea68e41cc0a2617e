"""Experts by rank: each token goes to the ranks of its experts, and what those give comes back (arXiv:2006.16668).

All ranks read the same texts. In front of the experts each takes a share of the tokens, and behind them all are laid
end to end again, so that whatever else a layer has is whole on every rank and computes as in one process. No token is
dropped, however many choose the same expert.

Shapes: M tokens of this rank, R rows that this rank's experts are given, D hidden, k experts per token.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import UsageError
from zoo.nn.places import has_values
from zoo.parallel.cutting import Held, cut_class
from zoo.parallel.exchange import counts_given, exchanged, gathered, parted
from zoo.parallel.sums import Ranks


def part_experts(block: nn.Module, held: Held, num_experts: int) -> None:
    """Let a block that is called as zoo.nn.Experts is compute with some of its `num_experts` experts."""
    block.by_rank, block.num_of_all = held, num_experts  # pyrefly: ignore[bad-argument-type]
    is_cut = hasattr(block, "held")  # within its experts too, and reads its weights so
    if not is_cut:
        block.held = held  # pyrefly: ignore[bad-argument-type]
    block.__class__ = cut_class(type(block), _ByExperts, () if is_cut else tuple(held.ways))


class _ByExperts:
    """A rank computes some experts, for the tokens of all."""

    def forward(self: Any, x: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
        """The weighted sum over each token's experts: x [M of all ranks, D] to as many."""
        if not has_values(x):
            raise UsageError("experts over several ranks cannot be traced", hint="compile a model of one process")
        ranks: Ranks = self.by_rank.ranks
        length, count = x.shape[0], ranks.count
        x, weights, chosen = (parted(t, ranks, 0) for t in (x, weights, chosen))
        order = chosen.flatten().argsort(stable=True)
        tokens, experts = order // chosen.shape[1], chosen.flatten()[order]
        numbers = torch.bincount(experts, minlength=self.num_of_all).view(count, -1)  # of rows for each expert
        theirs = counts_given(numbers, ranks)
        given, taken = numbers.sum(1).tolist(), theirs.sum(1).tolist()
        rows = exchanged(x[tokens], ranks, given, taken)
        local = torch.arange(theirs.shape[1], device=x.device).repeat(count).repeat_interleave(theirs.flatten())
        out = super().forward(rows, local[:, None], rows.new_ones(len(rows), 1))  # pyrefly: ignore[missing-attribute]
        back = exchanged(
            out + _used(rows, *(getattr(self, name) for name in self.by_rank.ways)).to(out), ranks, taken, given
        )
        scaled = back * weights.flatten()[order, None].to(x.dtype)
        return gathered(torch.zeros_like(x).index_add(0, tokens, scaled), ranks, 0, length)


def _used(*given: Tensor) -> Tensor:
    """0, in which all that is given has a gradient: a rank whose experts nobody chose goes back as the others do."""
    return torch.stack([x.flatten()[:0].sum(dtype=torch.float32) for x in given]).sum()
