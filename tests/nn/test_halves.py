"""Products and attention in 16 bits on a CPU without instructions for them: in float32, and rounded once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import zoo
from zoo.nn import halves, linear, products, single_row
from zoo.nn.attend import Attend
from zoo.nn.products import Linear

D, R = 256, 512
SINGLE = torch.finfo(torch.float32).eps
TYPES = [torch.float16, torch.bfloat16]


@pytest.fixture(autouse=True)
def _without_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(halves, "IS_FLOAT16_SLOW", True)
    monkeypatch.setattr(halves, "IS_BFLOAT16_SLOW", True)
    monkeypatch.setattr(halves, "IS_X86", True)
    monkeypatch.setattr(single_row, "IS_FAST", True)


@pytest.fixture
def torchs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[torch.dtype, int]]:
    """The types and numbers of rows of which torch is asked for products."""
    found: list[tuple[torch.dtype, int]] = []

    def product(x: Tensor, *others: Any) -> Tensor:
        found.append((x.dtype, x.numel() // D))
        return of_torch(x, *others)

    of_torch = F.linear
    monkeypatch.setattr(F, "linear", product)
    monkeypatch.setattr(products, "OWN_PRODUCT", product)
    monkeypatch.setattr(products, "onednn_product", lambda: None)
    return found


def rounded_once(found: Tensor, exact: Tensor, size: Tensor) -> bool:
    """Whether `found` is `exact` in its type, but for the rounding of sums of `size` in float32."""
    half_ulp = torch.finfo(found.dtype).eps / 2
    return bool(((found - exact).abs() <= half_ulp * exact.abs() + 2 * D * SINGLE * size).all())


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", [(4, D), (2, 9, D), (65, D)])
@pytest.mark.parametrize("is_biased", [False, True])
@pytest.mark.parametrize("band", [1 << 20, 100 * D])
def test_rows_are_multiplied_in_float32_a_band_at_a_time(
    dtype: torch.dtype, shape: tuple[int, ...], is_biased: bool, band: int, torchs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(halves, "BAND", band)
    x, weight, bias = torch.randn(shape).to(dtype), torch.randn(R, D).to(dtype), torch.randn(R).to(dtype)
    with torch.no_grad():
        found = linear(x, weight, bias if is_biased else None)
    assert torchs == [(torch.float32, x.numel() // D)] * -(-R * D // band)
    added = bias.double() if is_biased else torch.zeros(R)
    assert (found.dtype, found.shape) == (dtype, (*shape[:-1], R))
    exact, size = x.double() @ weight.double().mT + added, x.double().abs() @ weight.double().abs().mT + added.abs()
    assert rounded_once(found, exact, size)


@pytest.mark.parametrize("dtype", TYPES)
def test_few_rows_gradients_and_small_matrices_have_torchs_own(dtype: torch.dtype, torchs: Any) -> None:
    layer = nn.Linear(D, R, dtype=dtype)
    layer.__class__ = Linear
    x = torch.randn(5, D).to(dtype)
    with torch.no_grad():
        layer(x[:3])
        linear(x, layer.weight[:9])
    layer(x).sum().backward()
    assert layer.weight.grad is not None
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        layer(x)
    assert torchs == [(dtype, 3), (dtype, 5), (dtype, 5), (dtype, 5)]


@pytest.mark.parametrize("rows", [1, 9])
@pytest.mark.parametrize("band", [1 << 20, 100 * D])
def test_a_matrix_that_lies_the_other_way_is_widened_for_one_row_too(
    rows: int, band: int, torchs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(halves, "BAND", band)
    x, matrix = torch.randn(rows, D).half(), torch.randn(D, R).half()
    with torch.no_grad():
        found = linear(x, matrix.mT)
    assert torchs == [(torch.float32, rows)] * -(-R * D // band)
    assert rounded_once(found, x.double() @ matrix.double(), x.double().abs() @ matrix.double().abs())


def test_what_does_not_fit_is_refused_as_torch_refuses_it() -> None:
    weight = torch.randn(R, D).half()
    x = torch.randn(8, D).half()
    wrong = [(torch.randn(8, D + 1).half(), weight, None), (x, weight, torch.randn(R + 1).half()),
             (x, weight.float(), None), (x.float(), weight, None), (x, weight, torch.randn(R).float())]  # fmt: skip
    for given in wrong:
        with torch.no_grad():
            with pytest.raises(RuntimeError) as ours:
                linear(*given)
            with pytest.raises(RuntimeError) as theirs:
                F.linear(*given)
        assert str(ours.value) == str(theirs.value)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("queries", [1, 3])
@pytest.mark.parametrize("heads", [2, 4])
@pytest.mark.parametrize("way", ["plain", "masked", "biased", "softcap"])
def test_attention_is_rounded_once(dtype: torch.dtype, queries: int, heads: int, way: str) -> None:
    q, k, v = (torch.randn(2, n, t, 32).to(dtype) for n, t in ((heads, queries), (2, 40), (2, 40)))
    mask = torch.rand(2, 1, queries, 40) < 0.7 if way == "masked" else None
    bias = torch.randn(1, heads, queries, 40).to(dtype) if way == "biased" else None
    attend = Attend(0.2, softcap=5.0 if way == "softcap" else None)
    found = attend.heads_first(q, k, v, mask, bias=bias)
    scores = 0.2 * q.double() @ k.double().repeat_interleave(heads // 2, 1).mT
    scores = 5 * (scores / 5).tanh() if way == "softcap" else scores
    scores = scores if bias is None else scores + bias.double()
    scores = scores if mask is None else scores.masked_fill(~mask, float("-inf"))
    values = v.double().repeat_interleave(heads // 2, 1)
    assert found.dtype == dtype
    assert rounded_once(found, scores.softmax(-1) @ values, scores.softmax(-1) @ values.abs())


def test_one_query_of_each_head_is_widened_where_there_are_instructions_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(halves, "IS_BFLOAT16_SLOW", False)
    q, k, v = (torch.randn(1, 2, t, 32).bfloat16() for t in (1, 40, 40))
    found = Attend(0.2).heads_first(q, k, v)
    weights = (0.2 * q.double() @ k.double().mT).softmax(-1)
    assert rounded_once(found, weights @ v.double(), weights @ v.double().abs())


@pytest.mark.parametrize("name", ["gpt2", "qwen2-0.5b"])
@pytest.mark.parametrize("dtype", TYPES)
def test_a_model_is_nearer_than_by_torchs_own(name: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = ("vocab_size=300", "num_layers=2", "hidden_size=256", "num_heads=4", "intermediate_size=512")
    more = ("model.num_kv_heads=2",) if name != "gpt2" else ()
    model: Any = zoo.build(name, *(f"model.{size}" for size in sizes), *more, device="cpu", dtype=dtype)
    tokens = torch.randint(300, (2, 9))
    with torch.no_grad():
        exact = model.double()(tokens)
        found = model.to(dtype)(tokens)
        step = model(tokens, cache=model.new_cache(2, 9))
        monkeypatch.setattr(halves, "IS_FLOAT16_SLOW", False)
        monkeypatch.setattr(halves, "IS_BFLOAT16_SLOW", False)
        own = model(tokens)
    assert torch.equal(found, step)
    assert (found - exact).abs().mean() <= 1.1 * (own - exact).abs().mean()
