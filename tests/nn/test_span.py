"""Where tokens stand, and who may attend to whom, against the definition: count the real tokens, then ask the mask."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import zoo
from zoo.anatomy.config import RopeConfig
from zoo.errors import UsageError
from zoo.nn import (
    NEW,
    Cache,
    ColumnSpan,
    Keys,
    KVCache,
    Mask,
    Rope,
    SlidingKVCache,
    Span,
    causal,
    everything,
    hidden_states,
    sliding,
)
from zoo.nn.keys import SLOTS
from zoo.registry import installed

CPU = torch.device("cpu")
LEFT, RIGHT, BOTH, HOLE, NONE = "..xxx", "xxx..", ".xx..", "x.xx.", "....."


def rows(*drawn: str) -> Tensor:
    """A padding mask, x for a real token."""
    return torch.tensor([[cell == "x" for cell in row] for row in drawn])


def held(span: Span, layer: KVCache) -> tuple[Tensor, Tensor, Keys]:
    """What a layer's cache gives when every key is its own number: the position, and 100 for padding."""
    number = span.positions.expand(layer.k.shape[0], -1).double()
    if span.padding is not None:
        number = number.masked_fill(~span.padding, 100)
    return layer.append(number[..., None, None], number[..., None, None], span)


def test_positions_count_real_tokens_only() -> None:
    span = Span(4, 5, CPU, attention_mask=rows(LEFT, RIGHT, BOTH, HOLE))
    real = [row[keep].tolist() for row, keep in zip(span.positions, span.padding, strict=True)]
    assert real == [[0, 1, 2], [0, 1, 2], [0, 1], [0, 1, 2]]
    assert span.lengths.tolist() == [3, 3, 2, 3]


def test_without_padding_one_row_of_positions_serves_all() -> None:
    span = Span(3, 5, CPU)
    assert span.positions.tolist() == [[0, 1, 2, 3, 4]]
    assert span.counts is None
    assert span.lengths.tolist() == [5]


def test_positions_go_on_where_the_cache_stands() -> None:
    cache = Cache([], 2, 20)
    cache.advance(Span(2, 5, CPU, attention_mask=rows(LEFT, HOLE), cache=cache))
    assert (cache.length, cache.counts.tolist()) == (5, [3, 3])
    span = Span(2, 2, CPU, attention_mask=rows(".x", "xx"), cache=cache)
    assert span.positions.tolist() == [[3, 3], [3, 4]]
    cache.advance(span)
    assert (cache.length, cache.counts.tolist()) == (7, [4, 5])
    assert Span(2, 1, CPU, cache=cache).positions.tolist() == [[4], [5]]


def test_an_attention_mask_of_ones_and_zeros_will_do() -> None:
    mask = rows(LEFT, HOLE)
    assert torch.equal(Span(2, 5, CPU, attention_mask=mask.long()).padding, mask)


@pytest.mark.parametrize("shape", [(1, 5), (2, 7), (2, 1), (5,), (2, 1, 5, 5)])
def test_a_mask_of_another_shape_than_the_tokens_is_refused(shape: tuple[int, ...]) -> None:
    """One row for all would leave the others out of the cache; one of all tokens so far is other libraries' custom."""
    with pytest.raises(UsageError, match=r"attention_mask \[.*\] does not have the shape \[2, 5\] of the tokens"):
        Span(2, 5, CPU, attention_mask=torch.ones(shape, dtype=torch.bool))


def test_last_is_the_last_real_token() -> None:
    x = torch.arange(20.0).reshape(4, 5, 1)
    assert Span(4, 5, CPU).last(x).flatten().tolist() == [4, 9, 14, 19]
    padded = Span(4, 5, CPU, attention_mask=rows(LEFT, RIGHT, BOTH, HOLE))
    assert padded.last(x).flatten().tolist() == [4, 7, 12, 18]


@pytest.mark.parametrize(
    "mask", [causal, sliding(2), sliding(4), sliding(9), everything, *(Mask(is_causal=False, window=w) for w in (2, 4))]
)
@pytest.mark.parametrize("padding", [None, (LEFT, LEFT), (RIGHT, BOTH), (HOLE, NONE)], ids=str)
def test_a_real_query_sees_the_real_keys_that_the_mask_allows(mask: Mask, padding: tuple[str, str] | None) -> None:
    real = torch.ones(2, 5, dtype=torch.bool) if padding is None else rows(*padding)
    span = Span(2, 5, CPU, attention_mask=None if padding is None else real)
    allowed = span.allowed(mask, NEW)
    if allowed is None:
        allowed = torch.ones(2, 5, 5, dtype=torch.bool)
        allowed = allowed.tril() if span.is_causal(mask, NEW) else allowed
    for b, t, s in real[..., None].expand(2, 5, 5).nonzero().tolist():
        q, k = (int(real[b, :column].sum()) for column in (t, s))
        expected = real[b, s] and bool(mask(torch.tensor(q), torch.tensor(k)))
        assert allowed.expand(2, 5, 5)[b, t, s] == expected, (b, t, s)


@pytest.mark.parametrize("mask", [causal, sliding(2), everything])
def test_a_padding_query_sees_something_lest_softmax_be_nan(mask: Mask) -> None:
    span = Span(5, 5, CPU, attention_mask=rows(LEFT, RIGHT, BOTH, HOLE, NONE))
    assert span.allowed(mask, NEW).any(-1).all()
    cache = Cache([KVCache(5, 9, 1, 1)], 5, 9)
    span = Span(5, 5, CPU, attention_mask=rows(LEFT, RIGHT, BOTH, HOLE, NONE), cache=cache)
    assert span.allowed(mask, SLOTS).any(-1).all()


@pytest.mark.parametrize("window", [None, 2, 3])
def test_cached_keys_are_where_key_positions_says(window: int | None) -> None:
    """Whatever form a cache hands its keys out in, each key that may be seen is the one at its stated position."""
    mask = causal if window is None else sliding(window)
    for pattern in ([None] * 4, [rows(LEFT, HOLE), rows(".x", "xx"), None, rows("x", ".")]):
        layer = KVCache(2, 20, 1, 1) if window is None else SlidingKVCache(2, 20, 1, 1, window=window)
        cache = Cache([layer], 2, 20)
        for padding, count in zip(pattern, (5, 2, 4, 1), strict=True):
            span = Span(2, count, CPU, attention_mask=padding, cache=cache)
            k, _, keys = held(span, layer)
            positions = span.key_positions(keys).expand(k.shape[:2])
            allowed = span.allowed(mask, keys)
            if allowed is None:
                sees = torch.ones(2, count, k.shape[1], dtype=torch.bool)
                allowed = sees.tril() if span.is_causal(mask, keys) else sees
            real = torch.ones(2, count, dtype=torch.bool) if span.padding is None else span.padding
            for b, t in real.nonzero().tolist():
                seen = k[b, allowed.expand(2, -1, -1)[b, t], 0, 0].tolist()
                stated = positions[b, allowed.expand(2, -1, -1)[b, t]].tolist()
                query = int(span.positions.expand(2, -1)[b, t])
                low = 0 if window is None else max(0, query - window + 1)
                assert sorted(seen) == list(range(low, query + 1))
                assert stated == seen
            cache.advance(span)


def test_plain_causal_attention_builds_no_mask() -> None:
    span = Span(2, 5, CPU)
    assert span.allowed(causal, NEW) is None
    assert span.is_causal(causal, NEW)
    assert span.allowed(sliding(5), NEW) is None  # a window as wide as the text is none
    assert not span.is_causal(everything, NEW)
    assert not Span(2, 1, CPU).is_causal(causal, NEW)


@pytest.mark.parametrize(
    ("padding", "is_banded"),
    [((LEFT, RIGHT), True), (("xxxxx", LEFT), True), ((BOTH, LEFT), False), ((HOLE, RIGHT), False), (None, True)],
)
def test_a_window_is_cut_out_by_index_only_where_tokens_stand_in_order(
    padding: tuple[str, str] | None, is_banded: bool
) -> None:
    span = Span(2, 5, CPU, attention_mask=None if padding is None else rows(*padding))
    assert span.is_banded(sliding(3), NEW) == is_banded
    assert not span.is_banded(sliding(5), NEW)
    assert not span.is_banded(causal, NEW)
    assert not span.is_banded(Mask(is_causal=False, window=3), NEW)


def test_layers_share_one_rotation_per_rope() -> None:
    span = Span(1, 5, CPU)
    a, b = Rope(4, RopeConfig(), 8), Rope(4, RopeConfig(theta=9.0), 8)
    assert span.rotation(a, torch.float64) is span.rotation(a, torch.float64)
    assert not torch.equal(span.rotation(a, torch.float64)[0], span.rotation(b, torch.float64)[0])


def test_what_is_masked_takes_up_room_where_columns_are_counted() -> None:
    span = ColumnSpan(3, 5, CPU, attention_mask=rows(LEFT, HOLE, RIGHT))
    assert span.positions.tolist() == [[0, 0, 0, 1, 2], [0, 1, 2, 3, 4], [0, 1, 2, 3, 4]]
    window = Mask(is_causal=False, window=2)
    allowed = span.allowed(window, NEW)
    assert allowed is not None
    assert allowed[1].int().tolist() == [  # x.xx.: whom each column sees, at most one away and real
        [1, 0, 0, 0, 0], [1, 0, 1, 0, 0], [0, 0, 1, 1, 0], [0, 0, 1, 1, 0], [0, 0, 0, 1, 0],
    ]  # fmt: skip


@pytest.mark.parametrize("family", ["modernbert", "t5"])
@torch.inference_mode()
def test_a_masked_token_keeps_those_around_it_apart(family: str) -> None:
    """As in transformers, whose encoders tell distances by columns; tokens that follow each other are another text."""
    model = zoo.build(installed()[family].config_class.tiny(), dtype="float64", device="cpu").eval()
    for number, parameter in enumerate(model.parameters()):
        generator = torch.Generator().manual_seed(number)
        parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    tokens, is_real = torch.tensor([[5, 6, 7, 8, 9]]), rows("xx.xx")
    apart, close = (
        model.encode(*given).states if family == "t5" else hidden_states(model, given[0], attention_mask=given[1])[-1]
        for given in ((tokens, is_real), (tokens[is_real][None], None))
    )
    assert (apart[is_real] - close[0]).abs().max() > 1e-3
