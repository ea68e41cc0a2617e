"""What is done to a model once it has its weights, so that it computes the same in less time."""

from __future__ import annotations

from torch import nn

from zoo.nn.products import multiply_faster
from zoo.nn.side_by_side import Free, lay_side_by_side


def arrange(model: nn.Module, is_free: Free = lambda parameter: True) -> None:
    """Lay small weights of one input behind one another where they are free, and have large ones multiplied faster."""
    lay_side_by_side(model, is_free)
    multiply_faster(model)
