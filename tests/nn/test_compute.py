"""Layers whose matrices are not plain: what a cache is made of does not hang on them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import zoo
from tests.some import one_in
from zoo.nn import KVCache
from zoo.nn.compute import computed_by, matrix_of
from zoo.registry import installed

DECODERS = ["llama", "qwen", "deepseek", "gemma", "gpt2", "chatglm2", "bloom", "mixtral"]


class StrangeLinear(nn.Module):
    """A stranger's layer: no parameter, no buffer, and `weight` is a method, as in torch.ao."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self._held = [linear]

    def weight(self) -> Tensor:
        return self._held[0].weight

    def forward(self, x: Tensor) -> Tensor:
        return self._held[0](x)


def estranged(model: nn.Module) -> nn.Module:
    """The model with a stranger's module in the place of every linear layer but the head."""
    for parent in [*model.modules()]:
        for name, child in [*parent.named_children()]:
            if isinstance(child, nn.Linear) and name != "lm_head":
                setattr(parent, name, StrangeLinear(child))
    return model


@pytest.mark.parametrize("family", one_in(4, DECODERS))
def test_a_model_of_strange_layers_generates_the_same(family: str) -> None:
    config = installed()[family].config_class.tiny()
    plain, strange = (zoo.build(config, device="cpu", dtype="bfloat16").eval() for _ in range(2))
    estranged(strange)
    prompt = [[3, 5, 7, 4]]
    same = [zoo.generate(m, prompt, max_new_tokens=6).new_tokens for m in (plain, strange)]
    assert same[0] == same[1]


def test_a_cache_takes_the_dtype_of_its_first_keys_where_nothing_told_it() -> None:
    layer = estranged(zoo.build(installed()["llama"].config_class.tiny())).layers[0]
    cache = layer.attn.new_cache(1, 3)
    assert isinstance(cache, KVCache)
    assert cache.k.dtype == torch.get_default_dtype()
    cache.be_like(cache.k.bfloat16(), cache.v.bfloat16())
    assert cache.k.dtype == cache.v.dtype == torch.bfloat16
    cache.be_like(cache.k.float(), cache.v.float())  # settled: what comes later is stored in that dtype
    assert cache.k.dtype == torch.bfloat16


def test_numbers_under_two_bytes_say_nothing_of_what_a_layer_computes_in() -> None:
    layer = nn.Linear(4, 4, dtype=torch.float16)
    layer.weight = nn.Parameter(layer.weight.detach().to(torch.float8_e4m3fn), requires_grad=False)
    assert computed_by(layer) == {"dtype": torch.float16, "device": torch.device("cpu"), "is_guess": True}


def test_the_matrix_of_a_strange_layer_is_what_it_does_to_the_unit_vectors() -> None:
    linear = nn.Linear(5, 3, bias=False, dtype=torch.float64)
    assert torch.equal(matrix_of(StrangeLinear(linear), torch.zeros(2, 5, dtype=torch.float64)), linear.weight)
