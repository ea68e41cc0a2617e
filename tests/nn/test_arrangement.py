"""Which layers of a model multiply by oneDNN, and that they are torch's to whoever looks at their class."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import zoo
from zoo.adapters.places import Targets, targets_of
from zoo.anatomy.cuts import ROWS, Cut
from zoo.nn import halves, products
from zoo.nn.products import Linear, multiply_faster
from zoo.parallel.declared import places_of
from zoo.parallel.sequence import is_by_token

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch was built without oneDNN")
D, R = 256, 512
drawn = partial(torch.randn, dtype=torch.float32)


def large(rows: int = R) -> Tensor:
    return drawn(rows, D)


def test_a_layer_whose_weight_was_taken_away_and_who_wants_mkl_keep_torchs_class(asked: list[int]) -> None:
    model = nn.Sequential(*(nn.Linear(D, R, dtype=torch.float32) for _ in range(3)))
    model[0].weight = None
    del model[1].weight
    multiply_faster(model[:2])
    with torch.backends.mkldnn.flags(enabled=False):
        multiply_faster(model)
    assert {type(layer) for layer in model} == {nn.Linear}


def test_who_looks_at_a_layers_class_takes_it_for_torchs() -> None:
    model = nn.ModuleDict({"proj": Linear(2, 3)})
    assert targets_of(model, ["proj.weight"]) == Targets(["proj"], [])
    assert is_by_token(model["proj"])
    block = nn.Module()
    block.cuts, block.proj = (Cut("proj", ROWS),), model["proj"]
    assert [place.name for place in places_of(block)] == ["weight", "bias"]


class Own(nn.Linear):
    """A stranger's."""


def replaced(layer: nn.Linear) -> nn.Linear:
    layer.forward = F.relu
    return layer


@pytest.mark.parametrize(
    ("make", "is_ours"),
    [
        (lambda: nn.Linear(D, R, dtype=torch.float32), True),
        (lambda: nn.Linear(D, R // 2 - 1, dtype=torch.float32), False),
        (lambda: Own(D, R, dtype=torch.float32), False),
        (lambda: replaced(nn.Linear(D, R, dtype=torch.float32)), False),
    ],
    ids=["large", "small", "a stranger's", "replaced"],
)
@torch.no_grad()
def test_only_large_layers_of_torchs_own_multiply_so(
    asked: list[int], make: Callable[[], nn.Linear], *, is_ours: bool
) -> None:
    model = nn.Sequential(make())
    names, text, x = [*model.state_dict()], str(model), drawn(3, D)
    before = model(x)
    multiply_faster(model)
    assert (type(model[0]) is Linear) == is_ours
    for each in (model, copy.deepcopy(model)):
        assert [*each.state_dict()] == names
        assert str(each) == text
        assert torch.allclose(each(x), before, rtol=0, atol=1e-4)
    assert bool(asked) == is_ours


def test_a_processor_for_which_mkl_was_made_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def product(**about: object) -> Any:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: about, raising=False)
        return products.onednn_product.__wrapped__()

    assert product(cpu_name="Intel(R) Xeon(R) Platinum 8488C", avx512_f=True) is None
    assert product(cpu_name="AMD EPYC 7763", avx512_f=False) is None
    assert product() is None
    if torch.backends.mkl.is_available():
        assert product(cpu_name="AMD EPYC 9755", avx512_f=True) is torch.ops.mkldnn._linear_pointwise
    model = nn.Sequential(nn.Linear(D, R, dtype=torch.float32))
    monkeypatch.setattr(products, "onednn_product", lambda: None)
    monkeypatch.setattr(halves, "IS_X86", False)
    multiply_faster(model)
    assert type(model[0]) is nn.Linear


@pytest.mark.parametrize("family", ["llama1", "gpt2"])
def test_a_model_says_the_same_by_either(asked: list[int], monkeypatch: pytest.MonkeyPatch, family: str) -> None:
    """Its logits differ by rounding, and not more, in a pass, in steps, and after it was kept and read."""
    sizes = ["model.hidden_size=512", "model.num_layers=2", "model.num_heads=8", "model.vocab_size=300"]
    more = {"llama1": ["model.intermediate_size=1024", "model.num_kv_heads=8", "model.head_dim=64"], "gpt2": []}[family]
    model: Any = zoo.build(family, *sizes, *more, "model.max_seq_len=64", device="cpu", dtype="float32").eval()
    assert sum(type(layer) is Linear for layer in model.modules()) >= 8
    tokens = torch.arange(5, 25)[None]
    with torch.inference_mode():
        found = model(tokens)
        cache = model.new_cache(1, 32)
        model(tokens[:, :-1], cache=cache)
        step = model(tokens[:, -1:], cache=cache)
        assert asked
        again = pickle.loads(pickle.dumps(model))
        assert again(tokens).equal(found)
        monkeypatch.setattr(products, "onednn_product", lambda: None)
        own = model(tokens)
        exact = model.double()(tokens)
    scale = exact.abs().max()
    for each in (found, own):
        assert (each - exact).abs().max() <= 1e-5 * scale  # some hundred roundings of 6e-8
    assert (step[:, -1] - exact[:, -1]).abs().max() <= 1e-5 * scale
