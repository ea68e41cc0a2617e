"""Objectives of learning from rewards, against loops over tokens written from their equations, in float64."""

from __future__ import annotations

import math
from statistics import mean, stdev

import pytest
import torch
from torch import Tensor

from zoo.errors import UsageError
from zoo.training.losses import advantages, clipped_loss, group_advantages, grouped_loss, kl_estimate


def numbers(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


MASK = torch.tensor([[True, True, False, True, True], [False, True, True, True, False]])
NEW, OLD, REFERENCE = (numbers(2, 5, seed=seed) / 4 for seed in range(3))


def chosen(row: int) -> list[int]:
    return [t for t in range(5) if MASK[row, t]]


@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 0.95), (0.9, 0.8), (0.99, 0.0), (1.0, 1.0)])
def test_advantages_are_the_discounted_sum_of_surprises(gamma: float, lam: float) -> None:
    rewards, values = numbers(2, 5, seed=3), numbers(2, 5, seed=4)
    found = advantages(rewards, values, MASK, gamma=gamma, lam=lam)
    for row in range(2):
        places = chosen(row)
        r, v = ([x[row, t].item() for t in places] for x in (rewards, values))
        surprises = [r[i] + gamma * (v[i + 1] if i + 1 < len(v) else 0.0) - v[i] for i in range(len(v))]
        for i, t in enumerate(places):
            expected = sum((gamma * lam) ** (k - i) * surprises[k] for k in range(i, len(surprises)))
            assert found[row, t].item() == pytest.approx(expected, rel=1e-12)
    assert found[~MASK].tolist() == [0, 0, 0]


def test_with_lambda_1_an_advantage_is_what_came_less_what_was_expected() -> None:
    rewards, values = numbers(2, 5, seed=5), numbers(2, 5, seed=6)
    everything = torch.ones_like(MASK)
    found = advantages(rewards, values, everything, gamma=1.0, lam=1.0)
    torch.testing.assert_close(found + values, rewards.flip(1).cumsum(1).flip(1), rtol=1e-12, atol=1e-12)


def test_answers_are_compared_with_their_group() -> None:
    rewards = numbers(3, 4, seed=7)
    for group, found in zip(rewards.tolist(), group_advantages(rewards).tolist(), strict=True):
        expected = [(r - mean(group)) / (stdev(group) + 1e-4) for r in group]
        assert found == pytest.approx(expected, rel=1e-12)
    assert group_advantages(torch.ones(1, 3)).tolist() == [[0, 0, 0]]  # all alike: nothing to learn
    with pytest.raises(UsageError, match="no better"):
        group_advantages(torch.ones(2, 1))


def clipped(new: float, old: float, advantage: float, clip: float) -> float:
    ratio = math.exp(new - old)
    return min(ratio * advantage, min(max(ratio, 1 - clip), 1 + clip) * advantage)


def test_ppo_is_its_equation() -> None:
    advantage = numbers(2, 5, seed=8)
    each = [
        clipped(NEW[b, t].item(), OLD[b, t].item(), advantage[b, t].item(), 0.1) for b in range(2) for t in chosen(b)
    ]
    assert clipped_loss(NEW, OLD, advantage, MASK, clip=0.1).item() == pytest.approx(-mean(each), rel=1e-12)
    with pytest.raises(UsageError, match="no token"):
        clipped_loss(NEW, OLD, advantage, torch.zeros_like(MASK))


def test_beyond_the_clip_nothing_is_gained() -> None:
    new = torch.tensor([[0.5, -0.5]], dtype=torch.float64, requires_grad=True)
    both = torch.ones(1, 2, dtype=torch.bool)
    clipped_loss(new, torch.zeros_like(new), torch.tensor([[1.0, -1.0]]), both).backward()
    assert new.grad is not None
    assert new.grad.tolist() == [[0, 0]]


def test_grpo_is_its_equation() -> None:
    advantage = numbers(2, seed=9)
    answers = []
    for b in range(2):
        each = []
        for t in chosen(b):
            d = (REFERENCE[b, t] - NEW[b, t]).item()
            gain = clipped(NEW[b, t].item(), OLD[b, t].item(), advantage[b].item(), 0.2)
            each.append(gain - 0.3 * (math.exp(d) - d - 1))
        answers.append(mean(each))
    found = grouped_loss(NEW, OLD, REFERENCE, advantage, MASK, beta=0.3)
    assert found.item() == pytest.approx(-mean(answers), rel=1e-12)
    with pytest.raises(UsageError, match="an answer has no token"):
        grouped_loss(NEW, OLD, REFERENCE, advantage, MASK & torch.tensor([[True], [False]]))


def test_the_estimate_of_a_divergence_has_its_mean() -> None:
    """Weighed by the probabilities of what is drawn, the estimate is the divergence itself."""
    p, q = numbers(9, seed=10).log_softmax(0), numbers(9, seed=11).log_softmax(0)
    estimate = kl_estimate(p, q)
    assert bool((estimate >= 0).all())
    assert (p.exp() * estimate).sum().item() == pytest.approx((p.exp() * (p - q)).sum().item(), rel=1e-12)


@pytest.mark.parametrize("name", ["ppo", "grpo"])
def test_gradients_are_those_of_differences(name: str) -> None:
    advantage = numbers(2, 5, seed=12)
    of = {
        "ppo": lambda new: clipped_loss(new, OLD, advantage, MASK),
        "grpo": lambda new: grouped_loss(new, OLD, REFERENCE, advantage[:, 0], MASK),
    }
    assert torch.autograd.gradcheck(of[name], (NEW.clone().requires_grad_(),))
