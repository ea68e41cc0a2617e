"""Random weights: every one drawn, from the seed alone."""

from __future__ import annotations

import math

import torch
from torch import nn

from zoo.nn import MLP, RelativeBias, RMSNorm, UnitOffsetRMSNorm, gelu_tanh, initialise


def model() -> nn.Sequential:
    layers = [
        nn.Embedding(400, 50),
        RMSNorm(50, 1e-5),
        UnitOffsetRMSNorm(50, 1e-5),
        nn.LayerNorm(50),
        MLP(50, 90, gelu_tanh),
    ]
    built = nn.Sequential(*layers)
    for parameter in built.parameters():
        nn.init.constant_(parameter, torch.nan)
    return built


def test_matrices_are_normal_and_biases_zero() -> None:
    m = model()
    initialise(m, std=0.05)
    for weight in (m[0].weight, m[4].up_proj.weight, m[4].down_proj.weight):
        # The deviation of n normal numbers is within 4 / sqrt(2 n) of theirs but once in 16000 draws; n >= 4500.
        assert abs(weight.std().item() / 0.05 - 1) < 0.05
        assert abs(weight.mean().item()) < 0.004
    assert not m[4].up_proj.bias.any()
    assert not m[4].down_proj.bias.any()


def test_norms_start_as_the_identity() -> None:
    m = model()
    initialise(m)
    assert m[1].weight.eq(1).all()
    assert m[2].weight.eq(0).all()  # it scales by 1 + weight
    assert m[3].weight.eq(1).all()
    assert m[3].bias.eq(0).all()


def test_the_seed_decides_every_weight() -> None:
    a, b, c = model(), model(), model()
    for m, seed in ((a, 1), (b, 1), (c, 2)):
        torch.manual_seed(seed)
        initialise(m)
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    assert not torch.equal(a[0].weight, c[0].weight)


def test_biases_of_distance_are_drawn_like_matrices() -> None:
    torch.manual_seed(3)
    bias = RelativeBias(40, 100, 128, is_bidirectional=True)
    assert abs(bias.weight.std().item() / 0.02 - 1) < 4 / math.sqrt(2 * 4000)  # four deviations of the deviation
