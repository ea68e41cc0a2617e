"""What positions may and may not change.

Shapes: B batch, T tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from zoo.anatomy.config import RopeConfig
from zoo.nn import ChunkMask, DualChunkAttention, LogNAttention, Span
from zoo.testing.check import Skipped, require
from zoo.testing.measure import LIMIT, difference, reading
from zoo.testing.subject import Subject

SHIFT = 5  # tokens: odd, and no multiple of the usual windows


@torch.no_grad()
def rotary_layers_see_distances_only(s: Subject) -> str:
    """Each layer run alone, at the positions of the text and at later ones: rotations cancel but for distances."""
    if not isinstance(getattr(s.config, "rope", None), RopeConfig):
        raise Skipped("it has no model.rope")
    if any(isinstance(m, LogNAttention) or getattr(m, "depends_on_length", False) for m in reading(s).model.modules()):
        raise Skipped("its attention or its rotations also depend on the length of the text")
    if any(isinstance(m, DualChunkAttention) for m in s.model.modules()):
        raise Skipped("where its chunks begin depends on the positions")
    seen, worst = 0, 0.0
    for name, layer in s.model.named_modules():
        if not name.rpartition(".")[2].isdigit() or (call := _call(s, layer)) is None or _counts_positions(layer):
            continue
        args, kwargs = call
        later, before = layer(*_moved(args), **kwargs), layer(*args, **kwargs)
        gap = difference(later, before)
        require(gap < LIMIT, f"{name} differs by {gap:.2g} when the same text starts {SHIFT} positions later")
        seen, worst = seen + 1, max(worst, gap)
    if not seen:
        raise Skipped("it has no layers that are called with a zoo.nn.Span")
    return f"{seen} layers within {worst:.0e}"


def _counts_positions(layer: nn.Module) -> bool:
    """Whether a layer's attention depends on where a text begins: in chunks, or with scores of later queries higher."""
    masks = (getattr(module, "mask", None) for module in layer.modules())
    grows = any(getattr(module, "depends_on_position", False) for module in layer.modules())
    return grows or any(isinstance(mask, ChunkMask) for mask in masks)


def _call(s: Subject, layer: nn.Module) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """What a layer is called with for a text, if a Span is among it."""
    calls = []
    handle = layer.register_forward_pre_hook(lambda _, args, kwargs: calls.append((args, kwargs)), with_kwargs=True)
    try:
        s.run(s.tokens(1, s.longest))
    finally:
        handle.remove()
    return next(((a, k) for a, k in calls if any(isinstance(x, Span) for x in a)), None)


def _moved(args: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(arg.moved(SHIFT) if isinstance(arg, Span) else arg for arg in args)


PROPERTIES = (rotary_layers_see_distances_only,)
