"""The orders of norms and branches, worked by hand with factors in their places: 3 attends, 10 is the MLP."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from zoo.nn import (
    BranchNormLayer,
    ParallelLayer,
    PostNormLayer,
    PreNormLayer,
    SandwichLayer,
    ScaledLayer,
    TwinNormLayer,
)

BLOCKS = import_module("zoo.plugins.decoder.blocks")


class Times(nn.Module):
    """A part of a layer that multiplies by a number."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor, span: Any = None, cache: Any = None) -> Tensor:
        return self.factor * x


ATTN, MLP = Times(3.0), Times(10.0)
HALF, QUARTER = Times(0.5), Times(0.25)
LAYERS = {
    # 1 + 3/2 = 2.5; 2.5 + 10 * 2.5/4
    "pre": (PreNormLayer(ATTN, MLP, HALF, QUARTER), 8.75),
    # (1 + 3)/2 = 2; (2 + 20)/4
    "post": (PostNormLayer(ATTN, MLP, HALF, QUARTER), 5.5),
    # 1 + 3/2/2 = 1.75; 1.75 + 10 * 1.75/2/2
    "sandwich": (SandwichLayer(ATTN, MLP, lambda: HALF), 6.125),
    # 1 + 3/2 + 10/2
    "parallel": (ParallelLayer(ATTN, MLP, HALF), 7.5),
    # 1 + 3/2 + 10/4
    "twin": (TwinNormLayer(ATTN, MLP, HALF, QUARTER), 5.0),
    # 1 + 3/2 = 2.5; 2.5 + 10 * 2.5/4
    "branch": (BranchNormLayer(ATTN, MLP, HALF, QUARTER), 8.75),
    # 1 + 2 * 3/2 = 4; 4 + 2 * 10 * 4/4
    "scaled": (ScaledLayer(ATTN, MLP, HALF, QUARTER, scale=2.0), 24.0),
    # (5 * 1 + 3)/2 = 4; (5 * 4 + 40)/4
    "deepnorm": (BLOCKS.DeepNormLayer(ATTN, MLP, HALF, QUARTER, alpha=5.0), 15.0),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_branches_and_norms_stand_where_the_block_says(kind: str) -> None:
    layer, expected = LAYERS[kind]
    assert layer(torch.ones(1, 1, 1), None).item() == expected
