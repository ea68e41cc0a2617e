"""The order of a block: each is its formula, is recognised, and every other is tried."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.verification.cases import case, kinds, module
from zoo.verification.diagnosis import FIRST_SHARE, LEFT_SHARE, _is_later
from zoo.verification.divergence import Divergence
from zoo.verification.mistakes import block

# blocks: with 3x + 1 for attention, 2x for the MLP and norms that add 10 and 100

X = torch.full((1, 1, 1), 1.0, dtype=torch.float64)
ORDERS = {  # worked out by hand
    "attention, then MLP, each after its own norm": (lambda a: a + 2 * (a + 100), 11),
    "attention and MLP in parallel after one norm": (lambda a: a + 2 * 11, 11),
    "attention and MLP in parallel, each after its own norm": (lambda a: a + 2 * 101, 11),
    "attention, then MLP, both after the first norm": (lambda a: a + 2 * (a + 10), 11),
    "attention, then MLP, with their norms exchanged": (lambda a: a + 2 * (a + 10), 101),
    "attention and MLP in parallel, with their norms exchanged": (lambda a: a + 2 * 11, 101),
    "attention and MLP in parallel after the second norm": (lambda a: a + 2 * 101, 101),
    "attention and MLP in parallel, no norm before the MLP": (lambda a: a + 2, 11),
    "attention, then MLP, no norm before the MLP": (lambda a: a + 2 * a, 11),
}


@pytest.mark.parametrize("says", block.ORDERS)
def test_each_order_of_a_block_is_its_formula(says: str) -> None:
    parts = [lambda y: 3 * y + 1, lambda y: 2 * y, lambda y: y + 10, lambda y: y + 100, lambda y: y]
    found = block.ORDERS[says](X, *parts).item()
    if says in ORDERS:
        rest, read = ORDERS[says]
        assert found == rest(1 + 3 * read + 1)
        return
    first = 1 + 4 + 10  # x + attention(x), normed
    assert (
        found
        == {
            "attention, then MLP, each sum normed": first + 2 * first + 100,
            "attention, then MLP, the output of each normed": (1 + 4 + 10) + 2 * (1 + 4 + 10) + 100,
            "attention, then MLP, each added to the normed state": (lambda s: s + 2 * s)(11 + 3 * 11 + 1 + 100),
        }[says]
    )


class Block(nn.Module):
    """Attention, then MLP, each after its own norm; or both after one."""

    def __init__(self, *, norms: int = 2, order: str = "attention, then MLP, each after its own norm") -> None:
        super().__init__()
        self.attn, self.mlp = nn.Linear(2, 2), nn.Linear(2, 2)
        for i in range(norms):
            setattr(self, f"norm{i}", nn.LayerNorm(2))
        self.order, self.idle = block.ORDERS[order], nn.Identity()

    def forward(self, x: Tensor, span: Any = None) -> Tensor:
        norms = [getattr(self, f"norm{i}", getattr(self, "norm0", None)) for i in range(2)]
        return self.order(x, self.attn, self.mlp, *norms, lambda y: y)


@pytest.mark.parametrize("says", block.ORDERS)
def test_the_order_of_a_block_is_recognised_and_every_other_tried(says: str) -> None:
    layer = Block(order=says)
    x = torch.randn(1, 3, 2)
    found = {r.kind: r for r in block.order(case({"layers.0": layer, "layers.0.mlp": layer.mlp}))}
    assert set(found) == set(block.ORDERS) - {says}
    plain = layer(x)
    for other, repair in found.items():
        with repair.edit():
            parts = layer.attn, layer.mlp, layer.norm0, layer.norm1, lambda y: y
            torch.testing.assert_close(layer(x), block.ORDERS[other](x, *parts))
    torch.testing.assert_close(layer(x), plain)


def test_a_block_of_one_norm_has_four_orders_and_other_blocks_none() -> None:
    layer = Block(norms=1, order="attention and MLP in parallel after one norm")
    assert {r.kind for r in block.order(case({"l": layer}))} == set(block.OF_ONE_NORM) - {
        "attention and MLP in parallel after one norm"
    }
    for wrong in (Block(norms=0), module(attn=nn.Linear(2, 2)), nn.Linear(2, 2)):
        assert kinds(block.order(case({"l": wrong}))) == []
    three = Block()
    three.norm2 = nn.LayerNorm(2)
    assert kinds(block.order(case({"l": three}))) == []
    odd = Block()
    odd.order = lambda x, attn, mlp, *norms: attn(x) - mlp(x)
    assert kinds(block.order(case({"l": odd}))) == []
    odd.order = lambda x, attn, mlp, *norms: (attn(x), mlp(x))  # type: ignore[assignment, return-value]
    assert kinds(block.order(case({"l": odd}))) == []
    odd.order = lambda *parts: [][0]
    assert kinds(block.order(case({"l": odd}))) == []


def test_a_divergence_is_later_only_behind_the_one_before() -> None:
    order = [("a", "in"), ("a", "out"), ("b", "out")]
    first, second = (Divergence("", event, "", 1.0, None) for event in order[:2])
    assert _is_later(second, first, order)
    assert not _is_later(first, second, order)
    assert not _is_later(first, first, order)
    assert math.isclose(FIRST_SHARE, 1e-6)
    assert math.isclose(LEFT_SHARE, 1e-3)
