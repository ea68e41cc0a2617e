"""What a model learns from some texts, and whether two of them learn the same.

Shapes: B batch, T tokens.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from zoo.testing.measure import difference
from zoo.testing.subject import Subject

GRADIENT = 1e-9


def learned(s: Subject, model: nn.Module, texts: Tensor) -> dict[str, Tensor]:
    """The outputs for texts [B, T], of which every parameter has its gradient."""
    out = s.run(texts, model)
    summed(out).backward()
    return {name: x.detach() for name, x in out.items()}


def loss(s: Subject, model: nn.Module, texts: Tensor) -> Tensor:
    """A loss of texts [B, T]."""
    return summed(s.run(texts, model))


def summed(out: dict[str, Tensor]) -> Tensor:
    """A number in which every output has its own weight."""
    weighted = (x.flatten() * torch.sin(torch.arange(x.numel(), dtype=x.dtype)) for x in out.values())
    return torch.stack([x.sum() for x in weighted]).sum()


def step(model: nn.Module, losses: list[Tensor]) -> None:
    """One step down the sum of the losses."""
    torch.stack(losses).sum().backward()
    torch.optim.SGD([p for p in model.parameters() if p.grad is not None], lr=0.1).step()


def gradients(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Those that there are, by the names of their parameters."""
    yield from ((name, p.grad) for name, p in model.named_parameters() if p.grad is not None)


def wrong_gradients(one: nn.Module, found: dict[str, Tensor]) -> Iterator[str]:
    """What of the gradients is not as the model has it."""
    yield from unlike(dict(gradients(one)), found)


def unlike(expected: dict[str, Tensor], found: dict[str, Tensor]) -> Iterator[str]:
    """Against the largest of each weight; of one that is 0, as a key's bias without rotation, against all."""
    yield from (f"{name} has no gradient" for name in expected.keys() - found.keys())
    floor = 1e-4 * max((g.abs().max().item() for g in expected.values()), default=1.0)
    for name, gradient in expected.items():
        gap = (found[name] - gradient).abs().max().item() / max(gradient.abs().max().item(), floor)
        if not gap < GRADIENT:
            yield f"the gradient of {name} differs by {gap:.1e}"


def apart(expected: dict[str, Tensor], found: dict[str, Tensor], limit: float = GRADIENT) -> Iterator[str]:
    """What differs by more than the limit."""
    for name, x in expected.items():
        if not (gap := difference(found[name].detach(), x.detach())) <= limit:
            yield f"{name} differs by {gap:.1e}"
