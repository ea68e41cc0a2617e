"""What passes through a model, by name."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from zoo.errors import UnknownName
from zoo.nn import hidden_states, traced


class Doubling(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


class Stack(nn.Module):
    def __init__(self, *, has_norm: bool = True) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Doubling(), Doubling(), Doubling()])
        self.pair = Pair()
        if has_norm:
            self.norm = Doubling()

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        x, _ = self.pair(x)
        return self.norm(x) if hasattr(self, "norm") else x


ONE = torch.ones(())


def test_named_outputs_and_inputs_are_kept() -> None:
    model = Stack()
    with traced(model, "layers.1", "layers.1.input") as kept:
        model(ONE)
    assert {name: value.item() for name, value in kept.items()} == {"layers.1.input": 2, "layers.1": 4}


def test_without_names_every_tensor_is_kept() -> None:
    model = Stack()
    with traced(model) as kept:
        model(ONE)
    assert {name: value.item() for name, value in kept.items()} == {
        "layers.0": 2, "layers.1": 4, "layers.2": 8, "norm": 16,
    }  # fmt: skip


def test_nothing_is_kept_afterwards_even_after_an_error() -> None:
    model = Stack()
    with pytest.raises(RuntimeError, match="stop"), traced(model) as kept:
        raise RuntimeError("stop")
    model(ONE)
    assert not kept


def test_an_unknown_name_is_an_error_and_leaves_no_hook() -> None:
    model = Stack()
    with pytest.raises(UnknownName, match=r"no module 'layers\.9'"), traced(model, "layers.0", "layers.9"):
        pass
    assert not model.layers[0]._forward_hooks


@pytest.mark.parametrize(("has_norm", "expected"), [(True, [1, 2, 4, 8, 16]), (False, [1, 2, 4, 8])])
def test_hidden_states_are_what_enters_each_layer_and_what_leaves_the_last(has_norm: bool, expected: list[int]) -> None:
    assert [x.item() for x in hidden_states(Stack(has_norm=has_norm), ONE)] == expected


def test_a_stack_that_is_not_there_is_an_error() -> None:
    with pytest.raises(UnknownName, match="the model has no layers under 'blocks'"):
        hidden_states(Stack(), ONE, stack="blocks")
