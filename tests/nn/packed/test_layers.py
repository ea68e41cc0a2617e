"""Packed layers: what they stand for, what they give, and what becomes of them on the way."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import Tensor, nn

from zoo.nn.packed import Int4Groups, Int8Rows, PackedLinear, PackedStack, kernels, packed_layers, put_packed

SHAPES = [(128, 576, 32), (192, 576, 64), (64, 256, 128), (60, 50, 32), (5, 3, 32)]  # the last two suit no kernel


def layers(rows: int, columns: int, group: int, dtype: torch.dtype = torch.float32) -> list[PackedLinear]:
    weight = torch.randn(rows, columns, generator=torch.Generator().manual_seed(1))
    made = Int8Rows.rounded(weight), Int4Groups.rounded(weight, group)
    return [PackedLinear(scheme, parts, (rows, columns), dtype=dtype) for scheme, parts in made]


def test_the_kernels_are_there_in_this_torch() -> None:
    assert kernels.are_there()
    assert torch.__version__.startswith("2.")


@pytest.mark.parametrize(("rows", "columns", "group"), SHAPES)
def test_codes_are_the_nearest(rows: int, columns: int, group: int) -> None:
    """No number is further from what it was than half a step, and what bfloat16 took from scale and offset."""
    weight = torch.randn(rows, columns, generator=torch.Generator().manual_seed(1)).double()
    eight, four = (layer.dequantise(torch.float64) for layer in layers(rows, columns, group))
    step = weight.abs().amax(1, keepdim=True) / 127
    assert ((eight - weight).abs() <= step * (0.5 + 127 * 2**-8)).all()
    for start in range(0, columns, group):
        part = weight[:, start : start + group]
        least, most = part.amin(1, keepdim=True), part.amax(1, keepdim=True)
        step = (most - least) / 15
        off = (four[:, start : start + group] - part).abs()
        assert (off <= step * (0.5 + 15 * 2**-8) + 2**-8 * torch.maximum(least.abs(), most.abs())).all()


@pytest.mark.parametrize(("rows", "columns", "group"), SHAPES)
def test_the_order_of_the_kernel_changes_no_number(rows: int, columns: int, group: int) -> None:
    for layer in layers(rows, columns, group):
        before = layer.dequantise()
        assert torch.equal(layer.put_in_order().dequantise(), before)
        assert torch.equal(layer.dequantise(rows=slice(1, 3)), before[1:3])
        assert torch.equal(layer.put_in_plain_order().dequantise(), before)


@pytest.mark.parametrize("columns", [32, 64, kernels.LONG])
def test_rows_that_are_read_ahead_are_multiplied_as_they_are(columns: int) -> None:
    """Short rows in bands, the last of them not full: the same operation on the same rows."""
    rows = (kernels.AHEAD if columns < kernels.LONG else 1 << 16) // columns * 2 + 3
    g = torch.Generator().manual_seed(0)
    codes = torch.randint(-128, 128, (rows, columns), generator=g, dtype=torch.int8)
    scales, x = torch.rand(rows, generator=g).bfloat16(), torch.randn(2, columns, generator=g).bfloat16()
    assert torch.equal(kernels.times_int8(x, codes, scales), torch._weight_int8pack_mm(x, codes, scales))


@pytest.mark.parametrize("tokens", [1, 3, kernels.ROWS + 1])
@pytest.mark.parametrize(("rows", "columns", "group"), SHAPES[:3])
def test_products_equal_those_of_the_numbers(rows: int, columns: int, group: int, tokens: int) -> None:
    """To 1.7e-3 in the mean (1.8e-3 for as few as these): the result is rounded to bfloat16, by 2^-8 of it at most.

    Many tokens at once are multiplied by the numbers in bfloat16: two roundings.
    """
    x = torch.randn(2, tokens, columns).bfloat16()
    for layer in layers(rows, columns, group, torch.bfloat16):
        wanted = x.double() @ layer.dequantise(torch.float64).mT
        for dtype in (torch.bfloat16, torch.float32):
            found = layer.put_in_order()(x.to(dtype))
            assert found.dtype == dtype
            assert (found - wanted).norm() / wanted.norm() < (3.6e-3 if tokens > kernels.ROWS else 1.8e-3)


def test_without_a_kernel_the_product_is_exact_in_the_models_own_dtype(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "are_there", lambda: False)
    x = torch.randn(2, 96, dtype=torch.float32)
    for layer in layers(128, 96, 32):
        wanted = x @ layer.put_in_order().dequantise(torch.float32).mT
        torch.testing.assert_close(layer(x), wanted, rtol=1e-5, atol=1e-5)  # float32's order of sums


def test_gradients_flow_through_to_what_comes_in() -> None:
    x = torch.randn(3, 50, dtype=torch.float64, requires_grad=True)
    for layer in layers(60, 50, 32, torch.float64):
        assert torch.autograd.gradcheck(layer, (x,))
    for layer in layers(64, 64, 32):  # by a kernel on the way in; back by the numbers
        y = torch.randn(2, 64, dtype=torch.float32, requires_grad=True)
        layer.put_in_order()(y).sum().backward()
        torch.testing.assert_close(y.grad, layer.dequantise().sum(0).expand(2, -1))


def test_what_is_copied_pickled_or_saved_is_in_plain_order_and_the_model_keeps_its_own() -> None:
    for layer in layers(64, 64, 32):
        wanted, codes = layer.dequantise(), layer.codes.clone()
        layer.put_in_order()
        assert torch.equal(layer.state_dict()["codes"], codes)
        file = io.BytesIO()
        torch.save(layer, file)
        file.seek(0)
        for other in (copy.deepcopy(layer), torch.load(file, weights_only=False)):
            assert torch.equal(other.dequantise(), wanted)
            assert type(other.scheme) is type(layer.scheme)
        again = layers(64, 64, 32)[isinstance(layer.scheme, Int4Groups)].put_in_order()
        again.codes.zero_()
        again.load_state_dict(layer.state_dict())
        assert torch.equal(again.dequantise(), wanted)


def test_a_cast_is_for_what_is_computed_in_and_leaves_the_numbers_alone() -> None:
    for layer in layers(64, 64, 32):
        wanted = layer.put_in_order().dequantise(torch.float32)
        assert layer.half().like.dtype == torch.float16
        assert torch.equal(layer.dequantise(torch.float32), wanted)
        assert layer(torch.ones(1, 64, dtype=torch.float16)).dtype == torch.float16


def test_scales_that_bfloat16_does_not_hold_are_not_rounded() -> None:
    codes = torch.randint(-128, 128, (64, 64), dtype=torch.int8)
    parts = {"codes": codes, "scales": torch.full((64,), 1 / 3)}
    layer = PackedLinear(Int8Rows(), parts, (64, 64), dtype=torch.float32)
    x = torch.randn(1, 64, dtype=torch.float32).bfloat16().float()
    wanted = x.double() @ (codes.double() / 3).mT
    assert ((layer(x) - wanted).norm() / wanted.norm()) < 3e-3  # the kernel's own rounding, and one more of the result


class Stacked(nn.Module):
    """Three experts' matrices, as zoo.nn.Experts has them."""

    def __init__(self) -> None:
        super().__init__()
        self.up_proj = nn.Parameter(torch.randn(3, 4, 8))


def test_a_stack_of_experts_gives_the_matrix_of_each() -> None:
    model = Stacked()
    weight: Tensor = model.up_proj.detach()
    put_packed(model, "up_proj", *Int8Rows.rounded(weight.flatten(0, 1)), dtype=torch.float32)
    assert isinstance(model.up_proj, PackedStack)
    assert [*packed_layers(model)] == ["up_proj"]
    whole = packed_layers(model)["up_proj"].dequantise().reshape(3, 4, 8)
    assert torch.equal(model.up_proj[2], whole[2])
    assert torch.equal(model.up_proj[torch.tensor([2, 0])], whole[[2, 0]])
    assert (whole - weight).abs().max() < 0.05
