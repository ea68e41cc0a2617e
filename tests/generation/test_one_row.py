"""In a compiled step a product of one row is a sum, with the numbers of the product."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn
from torch.fx.experimental.proxy_tensor import make_fx

import zoo
from zoo.generation import one_row
from zoo.generation.one_row import PRODUCTS, OneRow
from zoo.nn import halves, linear

# Of the largest number: a sum of 96 in another order, and what its type rounds once.
TOLERANCE = {torch.float64: 1e-14, torch.float32: 1e-6, torch.bfloat16: 2**-8, torch.float16: 2**-11}


def traced(function: Callable[..., Any], *inputs: Tensor) -> fx.GraphModule:
    """The graph that torch compiles, after the pass."""
    module = make_fx(function, tracing_mode="fake")(*inputs)
    OneRow()(module.graph)
    module.graph.lint()
    module.recompile()
    return module


def products(module: fx.GraphModule) -> int:
    return sum(node.target in PRODUCTS for node in module.graph.nodes)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("has_bias", [False, True])
def test_a_row_is_summed_as_the_layer_multiplies(dtype: torch.dtype, has_bias: bool) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(96, 40, bias=has_bias, dtype=torch.float64)
    x = torch.randn(1, 1, 96, dtype=torch.float64)
    exact_of = layer.to(dtype).double()  # the numbers that the type holds
    x = x.to(dtype)
    exact = exact_of(x.double())
    layer = layer.to(dtype)
    parameters = dict(layer.named_parameters())

    def multiplied(x: Tensor, parameters: dict[str, Tensor]) -> Tensor:
        return torch.func.functional_call(layer, parameters, x)

    with torch.no_grad():
        module = traced(multiplied, x, parameters)  # pyrefly: ignore[bad-argument-type]
        out = module(x, parameters)
    assert products(module) == 0
    assert out.shape == exact.shape
    assert out.dtype == dtype
    torch.testing.assert_close(out.double(), exact, rtol=0, atol=TOLERANCE[dtype] * exact.abs().max().item())


def test_what_is_not_one_row_of_numbers_stays_a_product() -> None:
    rows, whole, matrix = torch.randn(2, 8), torch.ones(1, 8, dtype=torch.int64), torch.randn(5, 8).mT
    assert products(traced(torch.mm, rows, matrix)) == 1
    assert products(traced(torch.mm, whole, matrix.long())) == 1
    scaled = traced(lambda b, x, m: torch.addmm(b, x, m, beta=0.5), torch.randn(5), rows[:1], matrix)
    assert products(scaled) == 1
    mixed = traced(lambda x, m: (x @ m, x[:1] @ m), rows, matrix)
    assert products(mixed) == 1
    for found, expected in zip(mixed(rows, matrix), (rows @ matrix, rows[:1] @ matrix), strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_of_a_matrix_that_lies_the_other_way_each_thread_has_a_part(
    monkeypatch: pytest.MonkeyPatch, count: int, has_bias: bool
) -> None:
    """GPT-2's, whose columns lie apart. 96 numbers are 2 or 3 equal parts, and 4 for five threads."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: count)
    row, matrix, bias = (torch.randn(shape, dtype=torch.float64) for shape in ((1, 96), (96, 5), (5,)))

    def product(row: Tensor, matrix: Tensor, bias: Tensor) -> Tensor:
        return torch.addmm(bias, row, matrix) if has_bias else row @ matrix

    module = traced(product, row, matrix, bias)
    assert products(module) == (count == 1)
    parts = [n.meta["val"].shape[0] for n in module.graph.nodes if n.target is torch.ops.aten.bmm.default]
    assert parts == {1: [], 5: [4]}.get(count, [count])
    torch.testing.assert_close(module(row, matrix, bias), product(row, matrix, bias), rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("row", "matrix"),
    [
        (torch.randn(1, 7), torch.randn(7, 5)),  # no equal parts for two threads
        (torch.randn(1, 8).bfloat16(), torch.randn(8, 5).bfloat16()),  # parts would be rounded
        (torch.randn(1, 8), torch.randn(8, 10)[:, ::2]),
    ],
)
def test_what_cannot_be_parted_stays_a_product(monkeypatch: pytest.MonkeyPatch, row: Tensor, matrix: Tensor) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(halves, "IS_BFLOAT16_SLOW", False)
    assert products(traced(torch.mm, row, matrix)) == 1
    assert products(traced(torch.mm, row, matrix.T.contiguous().T)) == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("has_bias", [False, True])
def test_what_no_library_multiplies_is_widened_and_rounded_once(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, rows: int, has_bias: bool
) -> None:
    """GPT-2's matrices of one row, and of several rows all."""
    monkeypatch.setattr(halves, "IS_FLOAT16_SLOW", dtype is torch.float16)
    monkeypatch.setattr(halves, "IS_BFLOAT16_SLOW", dtype is torch.bfloat16)
    x, matrix, bias = (torch.randn(shape).to(dtype) for shape in ((rows, 96), (96, 5), (5,)))

    def product(x: Tensor, matrix: Tensor, bias: Tensor) -> Tensor:
        return torch.addmm(bias, x, matrix) if has_bias else x @ matrix

    module = traced(product, x, matrix, bias)
    found = [n.meta["val"].dtype for n in module.graph.nodes if n.target in PRODUCTS]
    assert found == [torch.float32]
    exact = x.double() @ matrix.double() + (bias.double() if has_bias else 0)
    out = module(x, matrix, bias)
    assert out.dtype == dtype
    half_ulp, summed = torch.finfo(dtype).eps / 2, 100 * torch.finfo(torch.float32).eps * exact.abs().max()
    assert ((out - exact).abs() <= half_ulp * exact.abs() + summed).all()


@pytest.mark.parametrize("rows", [1, 3, 9])
@pytest.mark.parametrize("has_bias", [False, True])
def test_a_large_matrix_is_widened_in_bands_outside_the_graph(
    monkeypatch: pytest.MonkeyPatch, rows: int, has_bias: bool
) -> None:
    monkeypatch.setattr(halves, "IS_FLOAT16_SLOW", True)
    monkeypatch.setattr(one_row, "BAND", 96 * 5 - 1)
    x, matrix, bias = (torch.randn(shape).half() for shape in ((rows, 96), (96, 5), (5,)))

    def product(x: Tensor, matrix: Tensor, bias: Tensor) -> Tensor:
        return torch.addmm(bias, x, matrix) if has_bias else x @ matrix

    module = traced(product, x, matrix, bias)
    assert not any(isinstance(n.meta.get("val"), Tensor) and n.meta["val"].dtype == torch.float32
                   for n in module.graph.nodes)  # fmt: skip
    assert sum(n.target is torch.ops.zoo.product_of_halves.default for n in module.graph.nodes) == 1
    with torch.no_grad():
        assert torch.equal(module(x, matrix, bias), linear(x, matrix.mT, bias if has_bias else None))


@pytest.mark.slow
def test_a_model_with_a_large_matrix_in_float16_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(halves, "IS_FLOAT16_SLOW", True)
    sizes = ("vocab_size=20000", "num_layers=1", "hidden_size=64", "num_heads=2", "intermediate_size=64")
    model: Any = zoo.build("gpt2", *(f"model.{size}" for size in sizes), device="cpu")
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4)  # peaked: no tie is broken by rounding
    model.half()
    prompts = [[3, 4, 5], [6, 7, 8]]
    new = [zoo.generate(model, prompts, max_new_tokens=8, compile=how).new_tokens for how in (False, True)]
    assert new[0] == new[1]


def test_graphs_in_files_are_told_apart_by_what_the_pass_does(monkeypatch: pytest.MonkeyPatch) -> None:
    of_one_process = OneRow().uuid()
    assert of_one_process
    assert of_one_process == OneRow().uuid()
    monkeypatch.setattr(torch, "get_num_threads", lambda: torch.get_num_interop_threads() + 17)
    assert of_one_process != OneRow().uuid()
