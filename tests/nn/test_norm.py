"""Norms against their formulas in float64, and bit for bit against transformers in half precision."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from zoo.nn import LateCastRMSNorm, RMSNorm, UnitOffsetRMSNorm, at_least_float32

DIM, EPS = 24, 1e-3


def weighted(norm: RMSNorm, dtype: torch.dtype) -> RMSNorm:
    nn.init.normal_(norm.weight, mean=0.5, std=0.7)
    return norm.to(dtype)


def by_formula(x: Tensor, scale: Tensor) -> Tensor:
    rows = [row / (row.pow(2).sum() / DIM + EPS).sqrt() for row in x.double().reshape(-1, DIM)]
    return torch.stack(rows).reshape(x.shape) * scale.double()


@pytest.mark.parametrize(("norm", "offset"), [(RMSNorm(DIM, EPS), 0.0), (UnitOffsetRMSNorm(DIM, EPS), 1.0)])
def test_norm_is_its_formula(norm: RMSNorm, offset: float) -> None:
    x, norm = torch.randn(2, 7, DIM), weighted(norm, torch.float64)
    assert torch.allclose(norm(x), by_formula(x, offset + norm.weight), rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize(("norm", "scale"), [(RMSNorm(DIM, EPS), 1.0), (UnitOffsetRMSNorm(DIM, EPS), 1.0)])
def test_a_fresh_norm_scales_by_one(norm: RMSNorm, scale: float) -> None:
    x = torch.randn(3, DIM)
    assert torch.allclose(norm(x), by_formula(x, torch.full((DIM,), scale)), rtol=1e-14, atol=0)
    nn.init.zeros_(norm.weight)
    norm.weight.data += 7
    norm.reset_parameters()
    assert torch.allclose(norm(x), by_formula(x, torch.full((DIM,), scale)), rtol=1e-14, atol=0)


@pytest.mark.parametrize("norm", [RMSNorm(DIM, EPS), UnitOffsetRMSNorm(DIM, EPS)])
def test_statistics_do_not_overflow_float16(norm: RMSNorm) -> None:
    x = torch.full((1, DIM), 300.0, dtype=torch.float16)  # its square is beyond 65504
    assert torch.allclose(norm.to(torch.float16)(x).double(), torch.ones(1, DIM), rtol=0, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("kind", [RMSNorm, UnitOffsetRMSNorm])
def test_the_dtype_that_comes_in_goes_out(kind: type[RMSNorm], dtype: torch.dtype) -> None:
    norm = weighted(kind(DIM, EPS), dtype)
    assert norm(torch.randn(2, DIM).to(dtype)).dtype == dtype


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_rms_norm_casts_before_the_weight_as_llama_does(dtype: torch.dtype) -> None:
    reference = pytest.importorskip("transformers.models.llama.modeling_llama", reason="needs the reference extra")
    norm = weighted(RMSNorm(DIM, EPS), dtype)
    other = reference.LlamaRMSNorm(DIM, EPS).to(dtype)
    other.weight.data = norm.weight.data
    x = (torch.randn(40, DIM) * 5).to(dtype)
    assert torch.equal(norm(x), other(x))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_unit_offset_norm_casts_last_as_gemma_does(dtype: torch.dtype) -> None:
    reference = pytest.importorskip("transformers.models.gemma.modeling_gemma", reason="needs the reference extra")
    norm = weighted(UnitOffsetRMSNorm(DIM, EPS), dtype)
    other = reference.GemmaRMSNorm(DIM, EPS).to(dtype)
    other.weight.data = norm.weight.data
    x = (torch.randn(40, DIM) * 5).to(dtype)
    assert torch.equal(norm(x), other(x))


def test_at_least_float32_leaves_float64_alone() -> None:
    assert at_least_float32(torch.ones(1, dtype=torch.float64)).dtype == torch.float64
    assert at_least_float32(torch.ones(1, dtype=torch.bfloat16)).dtype == torch.float32


@pytest.mark.parametrize("kind", [RMSNorm, UnitOffsetRMSNorm, LateCastRMSNorm])
def test_the_short_way_gives_what_torch_s_norm_gives(kind: type[RMSNorm]) -> None:
    norm = kind(24, 1e-5).double()
    nn.init.normal_(norm.weight)
    x = torch.cat((torch.randn(3, 24, dtype=torch.float64), torch.zeros(1, 24, dtype=torch.float64)))[:, None]
    scale = norm.weight + (kind is UnitOffsetRMSNorm)
    for eps in (1e-5, 0.5):
        norm.eps = eps
        with torch.no_grad():
            torch.testing.assert_close(norm(x), nn.functional.rms_norm(x, (24,), scale, eps), atol=1e-14, rtol=1e-14)
