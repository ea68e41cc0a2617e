"""Feed-forward blocks and activations against their formulas."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from zoo.nn import ACTIVATIONS, MLP, GatedMLP, gelu_tanh, quick_gelu


def gelu(x: float) -> float:
    return 0.5 * x * (1 + math.erf(x / math.sqrt(2)))


FORMULAS = {
    "relu": lambda x: max(x, 0.0),
    "gelu": gelu,
    "gelu_tanh": lambda x: 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "gelu_bloom": lambda x: 0.5 * x * (1 + math.tanh(0.79788456 * (x + 0.044715 * x**3))),
    "gelu_fast": lambda x: 0.5 * x * (1 + math.tanh(0.7978845608 * (x + 0.044715 * x**3))),
    "quick_gelu": lambda x: x / (1 + math.exp(-1.702 * x)),
    "silu": lambda x: x / (1 + math.exp(-x)),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_is_its_formula(name: str) -> None:
    x = torch.linspace(-6, 6, 41)
    expected = torch.tensor([FORMULAS[name](value) for value in x.tolist()])
    assert torch.allclose(ACTIVATIONS[name](x), expected, rtol=1e-12, atol=1e-14)


def linear(x: Tensor, layer: torch.nn.Linear) -> Tensor:
    y = torch.einsum("...i,oi->...o", x, layer.weight)
    return y if layer.bias is None else y + layer.bias


@pytest.mark.parametrize("bias", [False, True])
def test_mlp_is_down_of_act_of_up(bias: bool) -> None:
    mlp, x = MLP(6, 10, gelu_tanh, bias=bias), torch.randn(2, 3, 6)
    assert (mlp.up_proj.bias is not None) == (mlp.down_proj.bias is not None) == bias
    assert torch.allclose(mlp(x), linear(gelu_tanh(linear(x, mlp.up_proj)), mlp.down_proj), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("bias", [False, True])
def test_gated_mlp_activates_the_gate_and_not_up(bias: bool) -> None:
    mlp, x = GatedMLP(6, 10, quick_gelu, bias=bias), torch.randn(2, 3, 6)
    expected = linear(quick_gelu(linear(x, mlp.gate_proj)) * linear(x, mlp.up_proj), mlp.down_proj)
    assert torch.allclose(mlp(x), expected, rtol=1e-12, atol=1e-14)
    assert [name for name, _ in mlp.named_parameters() if name.endswith("bias")] == (
        ["gate_proj.bias", "up_proj.bias", "down_proj.bias"] if bias else []
    )
