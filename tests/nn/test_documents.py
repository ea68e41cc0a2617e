"""Several documents in one row, told apart by the numbers in an attention mask: each is read as if it stood alone."""

from __future__ import annotations

import pytest
import torch

import zoo
from tests.some import some
from zoo.errors import UsageError
from zoo.nn import Decoder
from zoo.registry import installed
from zoo.training.objectives.causal import check_documents

FAMILIES = installed().families
NOT_APART = ("chatglm", "qwen", "qwen_vl")  # whose positions are worked out of the whole row
WITH_STATE = [
    n for n, f in FAMILIES.items() if issubclass(f.model_class, Decoder) and f.config_class.tiny().anatomy().states
]
DECODERS = [n for n, f in FAMILIES.items() if n not in (*NOT_APART, *WITH_STATE) and issubclass(f.model_class, Decoder)]


def tiny(name: str) -> torch.nn.Module:
    return zoo.build(FAMILIES[name].config_class.tiny(), device="cpu", dtype="float64", seed=0)


@pytest.mark.parametrize("name", some(DECODERS, "gpt2", "mistral"))
@torch.no_grad()
def test_each_document_is_read_as_if_alone(name: str) -> None:
    model = tiny(name)
    first, second, third = (torch.randint(5, 20, (2, n), generator=torch.Generator().manual_seed(n)) for n in (6, 1, 9))
    rows = torch.cat((first, torch.zeros(2, 2, dtype=torch.long), second, third), 1)
    numbers = torch.tensor([[1] * 6 + [0] * 2 + [2] + [3] * 9] * 2)
    found = model(rows, attention_mask=numbers)
    for logits, text in ((found[:, :6], first), (found[:, 8:9], second), (found[:, 9:], third)):
        assert (logits - model(text)).abs().max() < 1e-12  # of order 1; float64 with and without a mask


@pytest.mark.parametrize("name", some([*NOT_APART, *WITH_STATE], "qwen"))
def test_a_model_that_cannot_keep_them_apart_is_refused_by_name(name: str) -> None:
    with pytest.raises(UsageError, match=rf"{name} .*documents"):
        check_documents(tiny(name), name)


def test_ones_and_zeros_are_padding_as_before_and_a_cache_holds_one_document() -> None:
    model = tiny("llama")
    tokens, mask = torch.randint(5, 20, (1, 5)), torch.tensor([[1, 1, 1, 0, 0]])
    assert torch.equal(model(tokens, attention_mask=mask), model(tokens, attention_mask=mask.bool()))
    with pytest.raises(UsageError, match="a cache holds one"):
        model(tokens, attention_mask=mask + 1, cache=model.new_cache(1, 8))
