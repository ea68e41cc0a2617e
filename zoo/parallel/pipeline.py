"""A model whose layers lie in stages, one a rank, computed in turns: to whoever calls it, it is as any other.

Shapes: B batch, T tokens, D hidden.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self

import torch
import torch.distributed as dist
from torch import Tensor, nn

from zoo.errors import UsageError
from zoo.nn import NoCache
from zoo.parallel.cutting import cut_class
from zoo.parallel.gathering import local, whole
from zoo.parallel.passing import get, put, received, sent, spoken, told
from zoo.parallel.sums import Ranks


@dataclass
class Pipeline:
    """A stage's place among the others, and the weights that the first and the last both have."""

    ranks: Ranks
    names: tuple[str, ...]  # of all weights of the whole model, in its order
    tied: list[nn.Parameter]
    given: Tensor | None = None  # what enters the stack, where a schedule has received it
    is_scheduled: bool = False
    is_reading: bool = False  # of tokens; otherwise states are given to the head
    _learned: dict[int, Tensor] = field(default_factory=dict)
    _heeded: set[int] = field(default_factory=set)

    def heed(self) -> None:
        """Notice from now on what the weights of both ends learn, where they do."""
        for parameter in self.tied:
            if parameter.requires_grad and id(parameter) not in self._heeded:
                self._heeded.add(id(parameter))
                parameter.register_hook(partial(self._learn, id(parameter)))

    @property
    def is_first(self) -> bool:
        return self.ranks.number == 0

    @property
    def is_last(self) -> bool:
        return self.ranks.number == self.ranks.count - 1

    def _learn(self, of: int, grad: Tensor) -> Tensor:
        mine = local(grad)
        self._learned[of] = self._learned[of] + mine if of in self._learned else mine.clone()
        return torch.zeros_like(grad)  # `settle` adds all at once, so that both ends have the same sum

    def settle(self) -> None:
        """Add to the gradients of what both ends have those of the other end; both must ask."""
        other = self.ranks.count - 1 if self.is_first else 0
        for parameter in self.tied:
            if parameter.requires_grad:
                mine = self._learned.pop(id(parameter), torch.zeros_like(local(parameter)))
                if self.is_first:
                    put(mine, self.ranks, other)
                theirs = get(self.ranks, other, mine.device)
                if self.is_last:
                    put(mine, self.ranks, other)
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                with torch.no_grad():
                    local(parameter.grad).add_(mine + theirs)

    def __deepcopy__(self, memo: Any) -> Self:
        raise UsageError("a model in stages is not copied", hint="load it twice")


def in_stages(model: Any, line: Pipeline) -> None:
    """Let a model, of whose weights those of other stages are gone, compute in turns with the other stages."""
    model.__dict__["pipeline"] = line
    model.__class__ = cut_class(type(model), _InStages, ())


class _InStages:
    """The first stage makes states of tokens, the last logits of them, and all are told these."""

    def encode(self: Any, tokens: Tensor, span: Any) -> Tensor:
        line: Pipeline = self.pipeline
        if line.is_first:
            return super().encode(tokens, span)  # pyrefly: ignore[missing-attribute]
        if line.given is not None:
            return line.given
        return received(next(self.parameters()), line.ranks, line.ranks.number - 1)

    def read(self: Any, x: Tensor, span: Any, *, cache: Any = None, last: bool = False) -> Tensor:
        line: Pipeline = self.pipeline
        line.is_reading = True
        line.heed()
        try:
            out = super().read(x, span, cache=cache, last=last and line.is_last)  # pyrefly: ignore[missing-attribute]
        finally:
            line.is_reading = False
        if line.is_scheduled:
            return out
        out = out if line.is_last else sent(out, line.ranks, line.ranks.number + 1)
        return told(out, line.ranks, line.ranks.count - 1, line.settle)

    def decode(self: Any, x: Tensor) -> Tensor:
        line: Pipeline = self.pipeline
        out = super().decode(x) if line.is_last else x  # pyrefly: ignore[missing-attribute]
        if line.is_reading:
            return out
        # Of the states that all were told: whoever has no head goes back through them all the same.
        return told(out if line.is_last else x.flatten()[:0], line.ranks, line.ranks.count - 1, line.settle)


class Elsewhere(nn.Module):
    """A layer that another stage has."""

    def forward(self, x: Tensor, span: Any, cache: Any = None) -> Tensor:
        return x

    def new_cache(self, batch_size: int, max_len: int) -> NoCache:
        return NoCache()


def held_by_stages(model: nn.Module) -> tuple[dict[str, Tensor], Callable[[str], Tensor]]:
    """The weights of the whole model in its order, on meta where another stage has them, and how each is fetched."""
    line: Pipeline = model.__dict__["pipeline"]
    ours = {name: p.detach() for name, p in model.named_parameters()}
    found: list[Any] = [None] * line.ranks.count
    facts = {name: (p.dtype, tuple(p.shape)) for name, p in ours.items()}
    dist.all_gather_object(found, facts, group=line.ranks.mesh.get_group())
    owners = {name: stage for stage in reversed(range(line.ranks.count)) for name in found[stage]}
    device = next(iter(ours.values())).device

    def fetched(name: str) -> Tensor:
        mine = whole(ours[name]) if owners[name] == line.ranks.number else None
        return spoken(mine, line.ranks, owners[name], device)

    specs = {name: found[owners[name]][name] for name in line.names}
    return {n: ours.get(n, torch.empty(s, dtype=d, device="meta")) for n, (d, s) in specs.items()}, fetched
