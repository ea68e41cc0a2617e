"""Attention against one written with loops (tests/nn/naive.py), in float64.

Both sides sum in float64 in another order: 1e-12 is a thousand roundings of outputs of order 1.
"""

from __future__ import annotations

import math
from itertools import pairwise, product
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.nn import naive
from tests.nn.layers import CPU, HIDDEN, attention, padded, rope, run
from tests.nn.naive import close
from zoo.errors import ConfigError
from zoo.nn import Alibi, Attend, Cache, Mask, RMSNorm, Span, causal, everything, sliding


def distance(n: int, t: int, s: int) -> float:
    """ALiBi's penalty for the six heads of `attention`: the slopes of four, and two of the eight's."""
    return (2**-2, 2**-4, 2**-6, 2**-8, 2**-1, 2**-3)[n] * (s - t)


HEADS = {"multi-head": (6, 6), "grouped": (6, 2), "multi-query": (5, 1)}
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "bias": {"has_bias": True},
    "bias-not-out": {"has_bias": True, "has_out_bias": False},
    "scale": {"scale": 0.9},
    "softcap": {"softcap": 1.5},
    "upcast": {"is_upcast": True},
    "window": {"mask": sliding(3)},
    "qk-norm": {"qk_norm": lambda dim: RMSNorm(dim, 1e-5)},
    "two-sided": {"mask": everything},
    "two-sided-window": {"mask": Mask(is_causal=False, window=3)},
}


@pytest.mark.parametrize(
    ("setting", "heads"),
    [
        pytest.param(s, n, marks=[] if s == "plain" or n == "grouped" else pytest.mark.slow)
        for n, s in product(HEADS, SETTINGS)
    ],
)
@pytest.mark.parametrize("turns", [None, False, True], ids=["no-rope", "halves", "interleaved"])
def test_attention_is_what_the_loops_say(heads: str, setting: str, turns: bool | None) -> None:
    n, k = HEADS[heads]
    attn = attention(n, k, rope=None if turns is None else rope(is_interleaved=turns), **SETTINGS[setting])
    x = torch.randn(2, 8, HIDDEN)
    close(run(attn, x), torch.stack([naive.attend(attn, row) for row in x]))


@pytest.mark.parametrize("mask", [causal, sliding(3), everything], ids=["causal", "window", "two-sided"])
@pytest.mark.parametrize("softcap", [None, 1.5])
def test_a_bias_is_added_to_the_scores_after_scaling(mask: Mask, softcap: float | None) -> None:
    attn = attention(bias=Alibi(6), mask=mask, softcap=softcap)
    x, real = torch.randn(2, 10, HIDDEN), padded("..xxxxxxxx", "xxxxxxxxx.")
    close(run(attn, x), torch.stack([naive.attend(attn, row, bias=distance) for row in x]))
    close(run(attn, x, real), naive.by_row(attn, x, real, bias=distance), real)


@pytest.mark.parametrize("chunks", [(10,), (4, 1, 1, 1, 1, 1, 1), (1, 4, 5), (3, 7)])
@pytest.mark.parametrize("mask", [causal, sliding(3)], ids=["causal", "window"])
def test_a_bias_is_added_to_cached_keys_too(mask: Mask, chunks: tuple[int, ...]) -> None:
    attn = attention(bias=Alibi(6), mask=mask)
    x, real = torch.randn(2, 10, HIDDEN), padded("..xxxxxxxx", "xxxxxxxxx.")
    close(run(attn, x, None, chunks), torch.stack([naive.attend(attn, row, bias=distance) for row in x]))
    close(run(attn, x, real, chunks), naive.by_row(attn, x, real, bias=distance), real)


@pytest.mark.slow
@settings(max_examples=50)
@given(st.data())
def test_any_padding_in_any_chunks_gives_what_each_row_gives_alone(data: st.DataObject) -> None:
    """Windows, holes in a row, rows of padding only, any chunks: the loops see each row's real tokens and no more."""
    window = data.draw(st.sampled_from([None, 1, 2, 3, 5]))
    length = data.draw(st.integers(1, 13))
    attn = attention(6, 2, rope=rope(), mask=causal if window is None else sliding(window))
    cells = st.lists(st.booleans(), min_size=length, max_size=length)
    real = torch.tensor([data.draw(cells), [True] * length, data.draw(cells), sorted(data.draw(cells))])
    chunks = tuple(data.draw(partitions(length)))
    x = torch.randn(4, length, HIDDEN)
    expected = naive.by_row(attn, x, real)
    close(run(attn, x, real), expected, real)
    close(run(attn, x, real, chunks), expected, real)


@pytest.mark.slow
@settings(max_examples=50)
@given(st.data())
def test_any_chunks_without_padding_give_what_the_whole_gives(data: st.DataObject) -> None:
    window = data.draw(st.sampled_from([None, 1, 2, 3, 5]))
    chunks = tuple(data.draw(partitions(data.draw(st.integers(1, 16)))))
    attn = attention(6, 2, rope=rope(), mask=causal if window is None else sliding(window))
    x = torch.randn(2, sum(chunks), HIDDEN)
    close(run(attn, x, None, chunks), torch.stack([naive.attend(attn, row) for row in x]))


def partitions(length: int) -> st.SearchStrategy[list[int]]:
    """Ways of cutting `length` tokens into chunks."""
    cuts = st.sets(st.integers(1, length - 1)) if length > 1 else st.just(set())
    return cuts.map(lambda at: [b - a for a, b in pairwise([0, *sorted(at), length])])


@pytest.mark.parametrize("settings", [{}, {"softcap": 2.0}, {"is_upcast": True}], ids=["sdpa", "softcap", "upcast"])
def test_is_causal_is_the_causal_mask(settings: dict[str, Any]) -> None:
    q, k, v = torch.randn(2, 7, 6, 4), torch.randn(2, 7, 2, 4), torch.randn(2, 7, 2, 5)
    attend, triangle = Attend(0.4, **settings), torch.ones(1, 7, 7, dtype=torch.bool).tril()
    close(attend(q, k, v, is_causal=True), attend(q, k, v, triangle))


@pytest.mark.parametrize(
    ("mask", "chunks"),
    [(everything, ()), *((mask, c) for mask in (causal, sliding(2)) for c in ((), (5,), (2, 3), (4, 1)))],
)
@pytest.mark.parametrize("settings", [{}, {"softcap": 2.0}, {"bias": Alibi(6)}], ids=["sdpa", "softcap", "bias"])
def test_a_row_of_padding_is_finite_and_gives_finite_gradients(
    mask: Mask, settings: dict[str, Any], chunks: tuple[int, ...]
) -> None:
    attn, real = attention(mask=mask, **settings), padded(".....", "..xxx", "xxx..", "xxxxx")
    x = torch.randn(4, 5, HIDDEN, requires_grad=not chunks)
    with torch.set_grad_enabled(not chunks):
        out = run(attn, x, real, chunks)
    assert torch.isfinite(out).all()
    if not chunks:
        out[real].sum().backward()
        assert torch.isfinite(x.grad).all()
        assert all(torch.isfinite(p.grad).all() for p in attn.parameters())


@pytest.mark.parametrize("mask", [causal, sliding(3)], ids=["causal", "window"])
def test_gradients_are_those_of_the_loops(mask: Mask) -> None:
    """By finite differences, in float64: what reaches x and every weight."""
    attn = attention(2, 1, rope=rope(), mask=mask, has_bias=True)
    x = torch.randn(1, 5, HIDDEN, requires_grad=True)
    names = [name for name, _ in attn.named_parameters()]

    def f(x: Tensor, *values: Tensor) -> Tensor:
        return torch.func.functional_call(attn, dict(zip(names, values, strict=True)), (x, Span(1, 5, CPU)))

    assert torch.autograd.gradcheck(f, (x, *attn.parameters()), fast_mode=True)


@pytest.mark.parametrize("settings", [{}, {"softcap": 4.0}, {"is_upcast": True}, {"mask": sliding(3)}], ids=str)
def test_bfloat16_stays_bfloat16_and_near_float64(settings: dict[str, Any]) -> None:
    attn = attention(rope=rope(), **settings)
    x = torch.randn(2, 9, HIDDEN)
    expected = torch.stack([naive.attend(attn, row) for row in x])
    half, cached = attn.to(torch.bfloat16), (4, 4, 1)
    for out in (run(half, x.bfloat16()), run(half, x.bfloat16(), None, cached)):
        assert out.dtype == torch.bfloat16
        # bfloat16 keeps 8 bits: scores of order 4 are off by 1/64, their softmax by as much, outputs of std 6 likewise
        assert (out.double() - expected).square().mean().sqrt() < 0.03 * expected.std()


def test_upcast_scores_keep_what_bfloat16_would_round_away() -> None:
    """Scores of 300 and 301 are one number in bfloat16; in float32 the second key weighs e times the first."""
    q = torch.tensor([[[[1.0, 1.0]]]]).bfloat16()
    k = torch.tensor([[[[300.0, 0.0]], [[300.0, 1.0]]]]).bfloat16()
    v = torch.tensor([[[[0.0]], [[1.0]]]]).bfloat16()
    found = Attend(1.0, is_upcast=True)(q, k, v)
    assert found.dtype == torch.bfloat16
    assert found.item() == pytest.approx(math.e / (1 + math.e), abs=2**-8)


def test_works_on_meta() -> None:
    with torch.device("meta"):
        attn = attention(rope=rope(), mask=sliding(3))
        cache = Cache([attn.new_cache(2, 9)], 2, 9)
        for x in (torch.empty(2, 7, HIDDEN), torch.empty(2, 1, HIDDEN)):
            span = Span(2, x.shape[1], x.device, cache=cache)
            out = attn(x, span, cache.layers[0])
            cache.advance(span)
            assert (out.shape, out.device.type) == (x.shape, "meta")
        x, mask = torch.empty(2, 7, HIDDEN), torch.ones(2, 7, dtype=torch.bool)
        assert attn(x, Span(2, 7, x.device, attention_mask=mask)).is_meta


def test_the_cache_is_of_the_masks_kind() -> None:
    assert attention(mask=sliding(3)).new_cache(2, 50).nbytes == 2 * 2 * 3 * 2 * 4 * 8  # k and v, rows, W, heads, dim
    assert attention().new_cache(2, 50).nbytes == 2 * 2 * 50 * 2 * 4 * 8


def test_heads_must_divide() -> None:
    with pytest.raises(ConfigError, match="num_heads=6 is not a multiple of num_kv_heads=4"):
        attention(6, 4)
