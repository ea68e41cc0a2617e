"""Attention within chunks: who sees whom, and that a cache changes nothing, over the borders of chunks.

Numbers are held to 1e-12: both sides compute in float64 and differ by the order of sums.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from zoo.anatomy.config import RopeConfig
from zoo.nn import Attention, Cache, ChunkMask, Rope, Span, chunked, in_int8
from zoo.nn.chunk_cache import ChunkKVCache
from zoo.nn.keys import ChunkKeys

SIZE, HEADS, KV, DIM = 4, 4, 2, 6


def attention(size: int = SIZE) -> Attention:
    torch.manual_seed(0)
    attn = Attention(8, HEADS, KV, DIM, rope=Rope(DIM, RopeConfig(theta=50.0), 64), mask=chunked(size)).double()
    for parameter in attn.parameters():
        nn.init.normal_(parameter, std=0.6)  # peaked: a key too many or too few shows
    return attn.eval()


def by_hand(attn: Attention, x: Tensor) -> Tensor:
    """One text x [T, D], token by token, each over the keys of its chunk alone."""
    count, size = len(x), attn.mask.window
    assert size is not None
    q, k, v = (p(x).unflatten(-1, (-1, DIM)) for p in (attn.q_proj, attn.k_proj, attn.v_proj))
    cos, sin = attn.rope(torch.arange(count)[None], torch.float64)
    q, k = (attn.rope.rotate(y[None], (cos, sin))[0] for y in (q, k))
    out = torch.zeros(count, HEADS, DIM, dtype=torch.float64)
    for t in range(count):
        seen = [s for s in range(t + 1) if s // size == t // size]
        for head in range(HEADS):
            scores = [math.exp(float(q[t, head] @ k[s, head * KV // HEADS]) * DIM**-0.5) for s in seen]
            out[t, head] = sum(w / sum(scores) * v[s, head * KV // HEADS] for w, s in zip(scores, seen, strict=True))
    return attn.o_proj(out.flatten(1))


def run(attn: Attention, x: Tensor, cache: Cache | None = None, mask: Tensor | None = None) -> Tensor:
    span = Span(*x.shape[:2], x.device, attention_mask=mask, cache=cache)
    out = attn(x, span, None if cache is None else cache.layers[0])
    if cache is not None:
        cache.advance(span)
    return out


def states(rows: int, length: int, seed: int = 1) -> Tensor:
    return torch.randn(rows, length, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_token_sees_its_chunk_from_its_first_token_to_itself() -> None:
    q, k = torch.arange(7)[:, None], torch.arange(-1, 7)[None]
    seen = ChunkMask(window=3)(q, k)
    expected = [[0 <= s <= t and s // 3 == t // 3 for s in range(-1, 7)] for t in range(7)]
    assert seen.tolist() == expected


@pytest.mark.parametrize("length", [1, 3, 4, 5, 8, 11])
@torch.no_grad()
def test_a_text_is_what_it_is_by_hand(length: int) -> None:
    attn, x = attention(), states(1, length)
    torch.testing.assert_close(run(attn, x)[0], by_hand(attn, x[0]), rtol=0, atol=1e-12)


@given(st.integers(1, 6), st.lists(st.integers(1, 9), min_size=1, max_size=7), st.integers(0, 3))
@torch.no_grad()
def test_any_pieces_give_what_the_whole_gives(size: int, pieces: list[int], spare: int) -> None:
    attn, x = attention(size), states(2, sum(pieces))
    cache = Cache([attn.new_cache(2, sum(pieces))], 2, sum(pieces))
    if spare:
        cache.look_ahead(spare)
    found = torch.cat([run(attn, part, cache) for part in x.split(pieces, 1)], 1)
    torch.testing.assert_close(found, run(attn, x), rtol=0, atol=1e-12)


@given(st.data())
@torch.no_grad()
def test_ragged_rows_are_what_they_are_alone(data: Any) -> None:
    """Padding on either side, in any pass: chunks count each row's real tokens."""
    attn = attention(data.draw(st.integers(2, 5)))
    widths = data.draw(st.lists(st.integers(1, 7), min_size=1, max_size=5))
    cache = Cache([attn.new_cache(3, sum(widths))], 3, sum(widths))
    texts: list[list[Tensor]] = [[], [], []]
    outs: list[list[Tensor]] = [[], [], []]
    for i, width in enumerate(widths):
        x, mask = states(3, width, seed=i), torch.zeros(3, width, dtype=torch.bool)
        for row in range(3):
            first = data.draw(st.integers(0, width))
            mask[row, first : data.draw(st.integers(first, width))] = True
        out = run(attn, x, cache, mask)
        assert out.isfinite().all()
        for row in range(3):
            texts[row].append(x[row, mask[row]])
            outs[row].append(out[row, mask[row]])
    for text, found in zip(texts, outs, strict=True):
        if len(whole := torch.cat(text)):
            torch.testing.assert_close(torch.cat(found), by_hand(attn, whole), rtol=0, atol=1e-12)


@torch.no_grad()
def test_a_step_is_outsits_chunk_and_no_more() -> None:
    attn = attention()
    layer = attn.new_cache(1, 20)
    cache = Cache([layer], 1, 20)
    assert isinstance(layer, ChunkKVCache)
    assert layer.k.shape[2] == SIZE
    for t in range(11):
        span = Span(1, 1, torch.device("cpu"), cache=cache)
        key = torch.full((1, KV, 1, DIM), float(t), dtype=torch.float64)
        keys, _, where = layer.take(key, key, span)
        assert keys[0, 0, :, 0].tolist() == list(range(t - t % SIZE, t + 1))
        assert where.positions(span).tolist() == [list(range(t - t % SIZE, t + 1))]
        assert span.allowed(attn.mask, where) is None
        assert span.allowed(chunked(3), ChunkKeys(4)) is not None or t == 0  # other chunks are not taken on trust
        cache.advance(span)


@torch.no_grad()
def test_rows_move_and_go_back_with_their_chunks() -> None:
    """Beams, drafts and joining batches: what goes on from there is what it is alone."""
    attn, x = attention(), states(2, 14)
    whole = run(attn, x)
    cache = Cache([attn.new_cache(2, 14)], 2, 14)
    cache.look_ahead(3)
    run(attn, x[:, :9], cache)
    run(attn, states(2, 3, seed=5), cache)  # a draft, over a border
    cache.rewind(9)
    found = run(attn, x[:, 9:11], cache)
    cache.reorder(torch.tensor([1, 0]))
    rest = torch.cat([run(attn, x.flip(0)[:, t : t + 1], cache) for t in range(11, 14)], 1)
    torch.testing.assert_close(torch.cat((found, rest.flip(0)), 1), whole[:, 9:], rtol=0, atol=1e-12)
    one, other = (Cache([attn.new_cache(1, n)], 1, n) for n in (6, 10))
    run(attn, x[:1, :6], one)
    run(attn, x[1:, :9], other)
    both = one.joined([other], [1, 0], max_len=14)
    step = run(attn, torch.stack((x[1, 9:10], x[0, 6:7])), both)
    torch.testing.assert_close(step[:, 0], torch.stack((whole[1, 9], whole[0, 6])), rtol=0, atol=1e-12)


@torch.no_grad()
def test_keys_in_8_bits_are_those_of_the_chunk() -> None:
    """Rounded numbers differ; a chunk of one token has its value alone, whatever its scores are."""
    attn, x = attention(1), states(1, 3)
    cache = in_int8(Cache([attn.new_cache(1, 3)], 1, 3))
    found = torch.cat([run(attn, x[:, t : t + 1], cache) for t in range(3)], 1)
    torch.testing.assert_close(found, run(attn, x), rtol=0, atol=0.1)
