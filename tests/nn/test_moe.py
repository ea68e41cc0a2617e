"""Mixtures of experts against loops over one token and one expert at a time; float64, held to 1e-12 unless it says."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from tests.nn.naive import close
from zoo.errors import UsageError
from zoo.nn import (
    Experts,
    GatedMLP,
    MoE,
    SigmoidRouter,
    SoftmaxRouter,
    balancing_losses,
    load_balancing_loss,
    quick_gelu,
)
from zoo.nn.grouped import can_group
from zoo.nn.moe import Route

HIDDEN, WIDTH, EXPERTS, TOKENS = 6, 5, 6, 9


class Fixed(nn.Module):
    """A router that always says the same."""

    def __init__(self, chosen: Tensor, weights: Tensor) -> None:
        super().__init__()
        self.route = chosen, weights

    def forward(self, x: Tensor) -> Route:
        return self.route


def experts() -> Experts:
    made = Experts(EXPERTS, HIDDEN, WIDTH, quick_gelu)
    for weight in made.parameters():
        nn.init.normal_(weight)
    return made


def by_hand(e: Experts, x: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
    out = torch.zeros_like(x)
    for t, row in enumerate(chosen.tolist()):
        for slot, i in enumerate(row):
            h = quick_gelu(e.gate_proj[i] @ x[t]) * (e.up_proj[i] @ x[t])
            out[t] += weights[t, slot] * (e.down_proj[i] @ h)
    return out


@torch.no_grad()
def test_a_token_gets_the_weighted_sum_of_its_experts_whichever_way_it_is_computed() -> None:
    """Expert 1 gets every token, experts 0 and 5 none, and the weights of a token sum to no round number."""
    e, x = experts(), torch.randn(TOKENS, HIDDEN)
    chosen = torch.tensor([[1, 2 + t % 3] if t % 2 else [2 + t % 3, 1] for t in range(TOKENS)])
    weights = torch.rand(TOKENS, 2)
    expected = by_hand(e, x, chosen, weights)
    close(e(x, chosen, weights), expected)
    close(e._gathered(x, chosen, weights), expected)  # as a graph is traced
    close(e(x[:0], chosen[:0], weights[:0]), expected[:0])


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_tokens_sorted_for_grouped_products_get_the_same_sum(dtype: torch.dtype) -> None:
    e = Experts(EXPERTS, 16, 8, quick_gelu).to(dtype)
    x, weights = torch.randn(TOKENS, 16).to(dtype), torch.rand(TOKENS, 2)
    chosen = torch.tensor([[1, 2 + t % 3] if t % 2 else [2 + t % 3, 1] for t in range(TOKENS)])
    if not can_group(x, e.stacks()):
        pytest.skip("this torch has no grouped products")
    bound = 8 * torch.finfo(dtype).eps  # sums of 16 products, of which each is rounded
    wide = Experts(EXPERTS, 16, 8, quick_gelu).double()
    wide.load_state_dict(e.state_dict())
    expected = by_hand(wide, x.double(), chosen, weights.double())
    for way in (e._grouped, e._visited, e._gathered):
        assert (way(x, chosen, weights) - expected).abs().max() <= bound * expected.abs().max()
    assert (e._of_one(x[:1], chosen[:1], weights[:1]) - expected[:1]).abs().max() <= bound * expected.abs().max()


def test_gradients_reach_the_experts_that_were_chosen_and_the_weights() -> None:
    e, x, weights = experts(), torch.randn(3, HIDDEN, requires_grad=True), torch.rand(3, 2, requires_grad=True)
    chosen = torch.tensor([[1, 2], [2, 4], [4, 1]])
    assert torch.autograd.gradcheck(lambda y, w: e(y, chosen, w), (x, weights), fast_mode=True)
    e(x, chosen, weights).sum().backward()
    assert [i for i in range(EXPERTS) if e.up_proj.grad[i].any()] == [1, 2, 4]


@torch.no_grad()
@pytest.mark.parametrize("is_gated", [False, True])
def test_every_token_passes_through_the_shared_expert(is_gated: bool) -> None:
    e, shared = experts(), GatedMLP(HIDDEN, 4, quick_gelu)
    gate = nn.Linear(HIDDEN, 1, bias=False) if is_gated else None
    x, chosen, weights = torch.randn(3, 3, HIDDEN), torch.tensor([[3], [0], [2]] * 3), torch.rand(TOKENS, 1)
    found = MoE(Fixed(chosen, weights), e, shared, gate)(x)
    share = 1.0 if gate is None else 1 / (1 + (-x @ gate.weight.T).exp())
    close(found, by_hand(e, x.flatten(0, 1), chosen, weights).view_as(x) + share * shared(x))


def sigmoid_route(router: SigmoidRouter, x: Tensor, *, groups: int, kept: int, k: int) -> tuple[list[int], list[float]]:
    """The choice for one token x [D]: by biased scores, groups by their two best; weights are the bare scores'."""
    scores = (1 / (1 + (-(router.weight @ x)).exp())).tolist()
    biased = [s + b for s, b in zip(scores, router.bias.tolist(), strict=True)]
    size = len(scores) // groups
    best = {g: sum(sorted(biased[g * size : (g + 1) * size])[-2:]) for g in range(groups)}
    ranked = sorted(best, key=lambda g: -best[g])[:kept]
    among = [e for e in range(len(scores)) if e // size in ranked]
    chosen = sorted(among, key=lambda e: -biased[e])[:k]
    return chosen, [scores[e] for e in chosen]


@torch.no_grad()
@pytest.mark.parametrize("is_renormalised", [True, False])
@pytest.mark.parametrize(("groups", "kept"), [(1, 1), (3, 2), (3, 1), (2, 1)])
def test_the_bias_steers_the_choice_and_never_the_weights(groups: int, kept: int, is_renormalised: bool) -> None:
    """With biases below -1 every biased score is negative: experts of other groups must not win by being masked."""
    router = SigmoidRouter(
        HIDDEN, EXPERTS, 2, is_renormalised=is_renormalised, num_groups=groups, groups_per_token=kept, scale=2.5
    )
    nn.init.normal_(router.weight)
    router.bias.copy_(-1.5 + torch.rand(EXPERTS))
    x = torch.randn(40, HIDDEN)
    chosen, weights = router(x)
    for t in range(len(x)):
        best, scores = sigmoid_route(router, x[t], groups=groups, kept=kept, k=2)
        assert chosen[t].tolist() == best
        share = torch.tensor(scores) / (sum(scores) if is_renormalised else 1)
        close(weights[t], 2.5 * share)


@torch.no_grad()
def test_affinities_that_vanish_still_share_as_the_reference_has_it() -> None:
    """Each weight is s / (sum + 1e-20), as DeepSeek writes it: of sigmoid(-46) = 1.05e-20 each, a third and no more."""
    router = SigmoidRouter(1, 2, 2)
    router.weight.copy_(torch.tensor([[-46.0], [-46.0]]))
    affinity = math.exp(-46.0)
    close(router(torch.ones(1, 1))[1], torch.full((1, 2), affinity / (2 * affinity + 1e-20)))


@pytest.mark.parametrize("kind", ["sigmoid", "softmax", "softmax-float32"])
@torch.no_grad()
def test_scores_of_bfloat16_states_are_float32(kind: str) -> None:
    """Logits of 5 and 5.01 are one number in bfloat16; only Mixtral's and Qwen's routers, as theirs, round them."""
    is_float32 = {"is_float32": True} if kind == "softmax-float32" else {}
    router = (
        SigmoidRouter(2, 2, 1) if kind == "sigmoid" else SoftmaxRouter(2, 2, 1, is_renormalised=False, **is_float32)
    )
    router = router.to(torch.bfloat16)
    router.weight.copy_(torch.tensor([[1.0, 0.0], [1.0, 0.0025]]))
    scores = router.scores(torch.tensor([[5.0, 4.0]], dtype=torch.bfloat16))
    assert scores.dtype == torch.float32
    assert router(torch.tensor([[5.0, 4.0]], dtype=torch.bfloat16))[1].dtype == torch.float32
    assert (scores[0, 0] < scores[0, 1]) == (kind != "softmax")


def test_the_balancing_loss_is_one_when_balanced_and_grows_with_the_imbalance() -> None:
    even = torch.full((EXPERTS, EXPERTS), 1 / EXPERTS)
    close(load_balancing_loss(even, torch.arange(EXPERTS)[:, None]), torch.tensor(1.0))
    scores = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.6, 0.3]])
    # Of four slots expert 0 has one, 1 two and 2 one; mean scores are 0.3, 0.45 and 0.25 (arXiv:2101.03961, eq. 4).
    expected = 3 * (0.25 * 0.3 + 0.5 * 0.45 + 0.25 * 0.25)
    close(load_balancing_loss(scores, torch.tensor([[0, 1], [1, 2]])), torch.tensor(expected))


def test_the_losses_of_all_routers_come_with_the_output_and_reach_their_weights() -> None:
    routers = [SoftmaxRouter(HIDDEN, EXPERTS, 2, is_renormalised=True), SigmoidRouter(HIDDEN, EXPERTS, 2)]
    model = nn.Sequential(*(MoE(router, experts()) for router in routers))
    for router in routers:
        nn.init.normal_(router.weight)
    x, taken = torch.randn(2, 4, HIDDEN), []
    out, loss = balancing_losses(model, x)
    close(out, model(x))
    for block, states in zip(model, (x, model[0](x)), strict=True):
        scores = block.router.scores(states.flatten(0, 1))
        taken.append(load_balancing_loss(scores / scores.sum(-1, keepdim=True), block.router(states.flatten(0, 1))[0]))
    close(loss, torch.stack(taken).mean())
    loss.backward()
    assert all(router.weight.grad.any() for router in routers)
    assert not any(router._forward_hooks for router in routers)


def test_a_model_without_routers_has_no_balance() -> None:
    with pytest.raises(UsageError, match="no mixture of experts"):
        balancing_losses(nn.Linear(2, 2), torch.ones(1, 2))


def test_padding_does_not_count_as_load() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.moe = MoE(SoftmaxRouter(HIDDEN, EXPERTS, 2, is_renormalised=True), experts())

        def forward(self, x: Tensor, attention_mask: Tensor | None = None) -> Tensor:
            return self.moe(x)

    nn.init.normal_((model := Masked()).moe.router.weight)
    x, mask = torch.randn(2, 4, HIDDEN), torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0]])
    _, real = balancing_losses(model, x[mask.bool()][None])
    _, loss = balancing_losses(model, x, attention_mask=mask)
    close(loss, real)
    assert (balancing_losses(model, x)[1] - loss).abs() > 0.01
