"""Sliding windows: cut out of the keys by index where that can be, and at a cost in proportion to the text."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import zoo
from tests.nn import naive
from tests.nn.layers import CPU, HIDDEN, attention, padded, rope, run
from tests.nn.naive import close
from zoo.nn import NEW, Attend, Attention, Span, sliding
from zoo.registry import installed


@pytest.mark.slow
@pytest.mark.parametrize("window", [2, 3, 4, 7])
@pytest.mark.parametrize("length", [8, 9, 12, 14])
@pytest.mark.parametrize("drawn", ["xx", ".x", "x."], ids=["unpadded", "left", "right"])
def test_a_window_cut_out_by_index_equals_the_window_by_mask(window: int, length: int, drawn: str) -> None:
    """The banded path, for lengths that are and are not multiples of the window, against one mask over all keys."""
    attn, x = attention(rope=rope(), mask=sliding(window)), torch.randn(2, length, HIDDEN)
    fill = {"xx": "x" * length, ".x": "..." + "x" * (length - 3), "x.": "x" * (length - 2) + ".."}[drawn]
    real = padded("x" * length, fill)
    span = Span(2, length, CPU, attention_mask=real)
    assert span.is_banded(attn.mask, NEW)
    q, k, v = torch.randn(2, length, 6, 4), torch.randn(2, length, 2, 4), torch.randn(2, length, 2, 4)
    whole = Attend(0.5)(q, k, v, span.allowed(attn.mask, NEW))
    close(Attend(0.5).banded(q, k, v, span, attn.mask, NEW), whole, real)
    close(run(attn, x, real), naive.by_row(attn, x, real), real)


def flops(attn: Attention, length: int, chunks: tuple[int, ...] = ()) -> int:
    """FLOPs of the two products of attention alone: what a forward pass costs less its four projections."""
    x = torch.randn(1, length, HIDDEN)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        run(attn, x, None, chunks)
    projections = sum(2 * length * p.weight.numel() for p in (attn.q_proj, attn.k_proj, attn.v_proj, attn.o_proj))
    return counter.get_total_flops() - projections


@pytest.mark.slow  # torch imports its compiler to count
def test_the_cost_of_a_window_is_linear_in_the_text_and_of_full_attention_quadratic() -> None:
    windowed, full = attention(mask=sliding(16)), attention()
    per_query = 2 * 2 * 6 * 4  # two products of 6 heads of 4 channels, a multiplication and an addition each
    for length in (64, 128, 256, 512):
        assert flops(full, length) == per_query * length**2
        # every block of 16 queries sees the 16 keys of its own and the 15 before it; the first has none before it
        assert flops(windowed, length) == per_query * (length * 31 - 16 * 15)


@pytest.mark.slow  # torch imports its compiler to count
def test_the_cost_of_a_window_is_linear_through_a_cache_too() -> None:
    attn = attention(mask=sliding(16))
    costs = [flops(attn, 64 * n, (64,) * n) for n in (2, 3, 5)]
    assert costs[2] - costs[1] == 2 * (costs[1] - costs[0])
    decoding = [flops(attn, n, (1,) * n) for n in (20, 30, 50)]
    assert decoding[2] - decoding[1] == 2 * (decoding[1] - decoding[0])


@torch.no_grad()
def test_a_reach_ahead_is_kept_where_the_window_is_shorter_than_the_text() -> None:
    """Tokens 2 to 6 belong together, as those of an image: each sees all later ones, and three back at most."""
    attn, x, span = attention(mask=sliding(3)), torch.randn(1, 10, HIDDEN), Span(1, 10, CPU)
    span.reach = span.positions.clone()
    span.reach[:, 2:7] = 6
    q, k, v = (p(x)[0].unflatten(-1, (-1, 4)) for p in (attn.q_proj, attn.k_proj, attn.v_proj))
    out = torch.zeros_like(q)
    for t in range(10):
        seen = [s for s in range(10) if t - 3 < s <= max(t, 6 if 2 <= t < 7 else t)]
        for n in range(6):
            out[t, n] = (k[seen, n // 3] @ q[t, n] / 2).softmax(0) @ v[seen, n // 3]
    close(attn(x, span)[0], attn.o_proj(out.flatten(1)))


@pytest.mark.parametrize("family", ["mistral", "llama"])
@pytest.mark.parametrize("first", [0, 2])
def test_a_memory_takes_what_autocast_makes_of_float32(family: str, first: int) -> None:
    """A ring and padded rows are written by index, which torch does between equal types only."""
    model: Any = zoo.build(installed()[family].config_class.tiny(), device="cpu", dtype="float32")
    tokens, mask = torch.arange(3, 27).view(2, 12), torch.ones(2, 12, dtype=torch.bool)
    mask[0, :first] = False
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        whole, cache = model(tokens, attention_mask=mask)[:, -1], model.new_cache(2, 12)
        model(tokens[:, :-1], attention_mask=mask[:, :-1], cache=cache)
        step = model(tokens[:, -1:], cache=cache)[:, -1]
    # keys are rounded to 8 bits at other places: a few steps of the largest logit
    torch.testing.assert_close(step, whole, atol=2**-5 * whole.abs().max().item(), rtol=0)
