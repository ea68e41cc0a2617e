"""Large products in float32 by oneDNN: the same numbers within rounding, and torch's own for all who follow them."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from zoo.nn import linear, products, times
from zoo.nn.products import multiply_faster

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch was built without oneDNN")
D, R = 256, 512
EPS = torch.finfo(torch.float32).eps
drawn = partial(torch.randn, dtype=torch.float32)


def large(rows: int = R) -> Tensor:
    return drawn(rows, D)


def check(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> None:
    """Against float64, by the bound of a sum of D products of which each step is rounded."""
    with torch.no_grad():
        found = linear(x, weight, bias)
    wide, most = x.double() @ weight.double().mT, x.double().abs() @ weight.double().abs().mT
    if bias is not None:
        wide, most = wide + bias, most + bias.abs()
    assert found.dtype == torch.float32
    assert found.shape == wide.shape
    assert ((found - wide).abs() <= (D + 2) * EPS * most).all()


@pytest.mark.parametrize("rows", [1, 2, 16, 17, 65, 130])
@pytest.mark.parametrize("bias", [None, drawn(R)], ids=["plain", "biased"])
def test_a_product_has_its_numbers_for_any_number_of_rows(asked: list[int], rows: int, bias: Tensor | None) -> None:
    check(drawn(rows, D), large(), bias)
    assert asked == [{17: 18, 65: 72, 130: 144}.get(rows, rows)]


@pytest.mark.parametrize(
    ("x", "weight"),
    [
        (drawn(2, 3, D), large()),
        (drawn(D), large()),
        (drawn(5, 2 * D)[:, :D], large()),
        (drawn(D, 5).mT, large()),
        (drawn(3, 1, D).expand(3, 4, D), large()),
        (drawn(5, D), drawn(D, R).mT),
        (drawn(5, D), drawn(3, R, D)[1]),
        (drawn(5, D), nn.Parameter(large())),
    ],
    ids=["3d", "1d", "part", "turned", "spread", "weight turned", "weight of a stack", "parameter"],
)
def test_a_product_has_its_numbers_however_they_lie(asked: list[int], x: Tensor, weight: Tensor) -> None:
    check(x, weight)
    assert asked
    with torch.no_grad():
        assert times(x, weight).equal(linear(x, weight))


def test_texts_of_all_lengths_make_few_products_ready() -> None:
    ready = {products._as_ready(count) for count in range(1, 4097)}
    assert len(ready) == 16 + 8 * 8
    assert all(count <= products._as_ready(count) <= max(count, 1.125 * count) for count in range(1, 4097))


OTHERS = {
    "small": (drawn(32, D), large(R // 2 - 1)),
    "a few rows": (drawn(31, D), large(R - 1)),
    "part of a weight": (drawn(3, D), drawn(R, D + 8)[:, :D]),  # oneDNN multiplies, and takes a thousand times as long
    "float64": (drawn(3, D).double(), large().double()),
    "bfloat16": (drawn(3, D).bfloat16(), large().bfloat16()),
    "no rows": (drawn(0, D), large()),
    "one row spread": (drawn(3, D), drawn(1, 1).expand(R, D)),
    "meta": (drawn(3, D, device="meta"), large().to("meta")),
}


@pytest.mark.parametrize("case", OTHERS)
@torch.no_grad()
def test_what_is_no_large_product_in_float32_on_a_cpu_is_torchs_own(asked: list[int], case: str) -> None:
    x, weight = OTHERS[case]
    found, own = linear(x, weight), F.linear(x, weight)
    assert found.shape == own.shape
    assert found.is_meta or found.equal(own)
    assert not asked


LAID = {
    "sparse weight": (drawn(3, D), large().relu().to_sparse_csr()),
    "blocks of a weight": (drawn(3, D), large().relu().to_sparse_bsr((16, 16))),
    "sparse": (drawn(3, D).relu().to_sparse(), large()),
    "sparse rows": (drawn(3, D).relu().to_sparse_csr(), large()),
    "oneDNN's own": (drawn(3, D).to_mkldnn(), large().to_mkldnn()),
    "nested": (torch.nested.nested_tensor([drawn(3, D), drawn(2, D)]), large()),
}


@pytest.mark.parametrize("case", LAID)
@torch.no_grad()
def test_what_lies_in_a_way_of_its_own_is_torchs_own(asked: list[int], case: str) -> None:
    x, weight = LAID[case]
    found, own = linear(x, weight), F.linear(x, weight)
    parts = zip(found.unbind(), own.unbind(), strict=True) if own.is_nested else [(found.to_dense(), own.to_dense())]
    assert all(one.equal(other) for one, other in parts)
    assert not asked


@torch.no_grad()
def test_what_stands_in_the_place_of_torchs_is_asked(asked: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Counters and tracers put their own function there, and must see every product."""
    model, x, seen = nn.Sequential(nn.Linear(D, R, dtype=torch.float32)), drawn(3, D), []
    multiply_faster(model)
    for place, name in ((F, "linear"), (nn.Linear, "forward")):
        own = getattr(place, name)
        with monkeypatch.context() as patch:
            patch.setattr(place, name, lambda *args, own=own: (seen.append(1), own(*args))[1])
            model(x)
    assert len(seen) == 2
    assert not asked
    model[0](input=x)  # as torch calls it
    assert asked


@torch.no_grad()
def test_a_graph_of_symbols_and_a_script_have_torchs_own(asked: list[int]) -> None:
    model, x = nn.Sequential(nn.Linear(D, R, dtype=torch.float32)).eval(), drawn(3, D)
    multiply_faster(model)
    own = F.linear(x, model[0].weight, model[0].bias)
    assert torch.fx.symbolic_trace(model)(x).equal(own)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        script: Any = torch.jit.script(model)
    assert script(x).equal(own)
    assert not asked


@pytest.mark.parametrize(
    ("x", "weight", "bias"),
    [
        (drawn(3, D + 1), large(), None),
        (drawn(3, D), large(), drawn(R + 1)),
        (drawn(3, D).double(), large(), None),
        (drawn(3, D), large(), drawn(R).double()),
        (drawn(1)[0], drawn(products.SMALLEST), None),
    ],
    ids=["columns", "bias", "type", "type of the bias", "no dimension"],
)
@torch.no_grad()
def test_what_does_not_fit_is_refused_as_torch_refuses_it(
    asked: list[int], x: Tensor, weight: Tensor, bias: Tensor | None
) -> None:
    with pytest.raises(RuntimeError) as own:
        F.linear(x, weight, bias)
    with pytest.raises(RuntimeError) as found:
        linear(x, weight, bias)
    assert str(found.value) == str(own.value)
    assert not asked


def test_gradients_go_through_torchs_own(asked: list[int]) -> None:
    x, weight = drawn(3, D, requires_grad=True), nn.Parameter(large())
    linear(x, weight).sum().backward()
    assert x.grad is not None
    assert torch.allclose(x.grad, weight.detach().sum(0).expand(3, D), rtol=1e-4, atol=1e-4)  # a sum of 512 in float32
    assert not asked


@torch.no_grad()
def test_who_counts_or_casts_or_transforms_sees_torchs_own(asked: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight = drawn(3, D), large()
    with FlopCounterMode(display=False) as counter:
        linear(x, weight)
    assert counter.get_total_flops() == 2 * 3 * D * R
    with torch.autocast("cpu", torch.bfloat16):
        assert linear(x, weight).dtype == torch.bfloat16
    each = torch.vmap(lambda row: linear(row, weight))(x)
    assert torch.allclose(each, F.linear(x, weight), rtol=0, atol=1e-3)
    _, change = torch.func.jvp(partial(linear, weight=weight), (x,), (torch.ones_like(x),))
    assert torch.allclose(change, weight.sum(1).expand(3, R), rtol=0, atol=1e-3)
    with monkeypatch.context() as patch:
        patch.setattr(torch.backends.mkldnn, "enabled", False)
        linear(x, weight)
    assert torch.backends.mkldnn.enabled
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        traced: Any = torch.jit.trace(lambda x: linear(x, weight), (x,), check_trace=False)
    assert "mkldnn" not in str(traced.graph)
    assert not asked
