"""What LoRA costs by arithmetic is what adapters really take, counted on modules that were given them by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from zoo import presets
from zoo.anatomy.adapters import adapter_parameters, lora_bytes
from zoo.anatomy.size import Size
from zoo.errors import UsageError
from zoo.models.construction import on_meta
from zoo.registry import installed


def by_hand(model: nn.Module, rank: int) -> int:
    """Parameters of an A and a B put beside every matrix below a layer's attn and mlp, routers left out."""
    total = 0
    for name, module in model.named_modules():
        if ".attn." not in name and ".mlp" not in name:
            continue
        if isinstance(module, nn.Linear) and not name.endswith(("router", "shared_gate")):
            a, b = nn.Linear(module.in_features, rank, bias=False), nn.Linear(rank, module.out_features, bias=False)
            total += a.weight.numel() + b.weight.numel()
        for own, parameter in module.named_parameters(recurse=False):
            if parameter.ndim == 3:  # the experts' matrices in one tensor, each with its own pair
                assert own.endswith("_proj")
                total += sum(rank * (matrix.shape[0] + matrix.shape[1]) for matrix in parameter)
    return total


@pytest.mark.parametrize("family", ["llama", "gpt2", "mixtral", "deepseek", "gemma", "qwen2_moe"])
@pytest.mark.parametrize("rank", [1, 5])
def test_adapters_are_those_of_a_module_that_was_given_them(family, rank):
    config = installed()[family].config_class.tiny()
    assert adapter_parameters(config.anatomy(), rank) == by_hand(on_meta(config), rank)


def test_only_adapters_have_gradients_and_optimizer_states():
    size = Size.of(presets.config("llama3-8b"))
    whole, lora = size.training_bytes(2, 100), lora_bytes(size, 2, 100, rank=8)
    # by hand: q and o 4096 + 4096, k and v 4096 + 1024, gate, up and down 4096 + 14336; 8 ranks, 32 layers
    adapters = 32 * 8 * (2 * 8192 + 2 * 5120 + 3 * 18432)
    assert adapter_parameters(size.anatomy, 8) == adapters
    assert lora.weights == 2 * (8_030_261_248 + adapters)
    assert (lora.gradients, lora.optimizer) == (2 * adapters, 12 * adapters)
    assert lora_bytes(size, 2, 100, rank=8, dtype="float32").optimizer == 8 * adapters  # no copy beside float32
    assert lora.activations - whole.activations == 2 * 100 * 32 * 7 * 8 * 2  # r numbers for each of 7 matrices


def test_activations_of_adapters_are_the_numbers_that_enter_the_second_matrix():
    kept = []
    base, a, b = nn.Linear(6, 10, bias=False), nn.Linear(6, 3, bias=False), nn.Linear(3, 10, bias=False)
    base.requires_grad_(False)
    x = torch.randn(7, 6, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(tuple(t.shape)) or t, lambda t: t):
        (base(x) + b(a(x))).sum()
    assert kept.count((7, 3)) == 1
    assert (7, 6) in kept  # what A's gradient needs, although the matrix beside it is frozen


def test_a_rank_below_one_is_refused():
    with pytest.raises(UsageError, match="at least 1, not 0"):
        adapter_parameters(presets.config("gpt2").anatomy(), 0)
