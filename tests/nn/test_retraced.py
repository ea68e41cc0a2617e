"""A delta net whose tokens are taken back goes on as if they had never been read."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from zoo.errors import UsageError
from zoo.nn import Cache, GatedDeltaNet, KVCache, Span, StateCache

WIDTH = 8


def net(kernel: int = 3) -> GatedDeltaNet:
    torch.manual_seed(kernel)
    return GatedDeltaNet(WIDTH, 1, 2, 4, 3, conv_kernel=kernel, norm_eps=1e-5).double()


def read(layer: GatedDeltaNet, cache: Cache, x: Tensor, mask: Tensor | None = None) -> Tensor:
    span = Span(x.shape[0], x.shape[1], x.device, attention_mask=mask, cache=cache)
    held: Any = cache.layers[0]
    y = layer(x, span, held)
    cache.advance(span)
    return y


def opened(layer: GatedDeltaNet, rows: int, ahead: int | None) -> Cache:
    cache = Cache([layer.new_cache(rows)], rows, 999)
    if ahead is not None:
        cache.look_ahead(ahead)
    return cache


@given(st.data())
@torch.inference_mode()
def test_rows_go_back_by_themselves_within_what_was_looked_ahead(data: st.DataObject) -> None:
    """After any passes, padded or not, and any rewinds: what a row gives next is what its text alone gives."""
    layer, ahead, rows = net(data.draw(st.integers(1, 4))), data.draw(st.integers(1, 4)), 3
    cache = opened(layer, rows, ahead)
    texts, draw = [torch.zeros(0, WIDTH, dtype=torch.float64)] * rows, torch.Generator().manual_seed(0)
    for _ in range(data.draw(st.integers(1, 6))):
        sizes = data.draw(st.lists(st.integers(0, 1 + ahead), min_size=rows, max_size=rows).filter(any))
        width = max(sizes)
        x = torch.randn(rows, width, WIDTH, dtype=torch.float64, generator=draw)
        mask = torch.tensor([[column >= width - size for column in range(width)] for size in sizes])
        found = read(layer, cache, x, None if mask.all() and cache.counts is None else mask)
        texts = [torch.cat((text, new[real])) for text, new, real in zip(texts, x, mask, strict=True)]
        for row, (text, size) in enumerate(zip(texts, sizes, strict=True)):
            if size:
                alone = read(layer, opened(layer, 1, None), text[None])[0, -size:]
                torch.testing.assert_close(found[row, width - size :], alone, rtol=1e-9, atol=1e-9)
        for _ in range(data.draw(st.integers(0, 2))):
            back = [data.draw(st.integers(0, size)) for size in sizes]
            sizes = [size - gone for size, gone in zip(sizes, back, strict=True)]
            texts = [text[: len(text) - gone] for text, gone in zip(texts, back, strict=True)]
            cache.rewind_rows([len(text) for text in texts])


@given(st.data())
@torch.inference_mode()
def test_rows_go_back_over_several_passes_or_say_that_they_cannot(data: st.DataObject) -> None:
    """Old passes that a row has taken back, whole or in part, have no say in what comes after."""
    layer, ahead = net(), data.draw(st.integers(2, 6))
    cache, draw = opened(layer, 2, ahead), torch.Generator().manual_seed(3)
    texts = [torch.zeros(0, WIDTH, dtype=torch.float64)] * 2
    for _ in range(data.draw(st.integers(2, 8))):
        x = torch.randn(2, data.draw(st.integers(1, 3)), WIDTH, dtype=torch.float64, generator=draw)
        texts = [torch.cat((text, new)) for text, new in zip(texts, x, strict=True)]
        found = read(layer, cache, x)
        for text, row in zip(texts, found, strict=True):
            alone = read(layer, opened(layer, 1, None), text[None])[0, -len(row) :]
            torch.testing.assert_close(row, alone, rtol=1e-9, atol=1e-9)
        lengths = [data.draw(st.integers(max(1, len(text) - ahead), len(text))) for text in texts]
        try:
            cache.rewind_rows(lengths)
        except UsageError:
            assert cache.length == max(map(len, texts))
            continue
        texts = [text[:length] for text, length in zip(texts, lengths, strict=True)]


@torch.inference_mode()
def test_a_pass_that_one_row_has_taken_back_is_still_anothers() -> None:
    layer = net()
    x = torch.randn(2, 9, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    cache = opened(layer, 2, 8)
    read(layer, cache, x[:, :2])
    read(layer, cache, x[:, 2:5])
    cache.rewind_rows([1, 4])  # before the second pass, and within it
    read(layer, cache, x[:, 5:7])
    cache.rewind_rows([1, 4])
    found = read(layer, cache, x[:, 7:])
    for row, length in enumerate((1, 4)):
        text = torch.cat((x[row, :length], x[row, 7:]))[None]
        torch.testing.assert_close(found[row], read(layer, opened(layer, 1, None), text)[0, -2:], rtol=1e-9, atol=1e-9)


@torch.inference_mode()
def test_several_passes_can_be_taken_back_and_others_read_in_their_place() -> None:
    """As a draft's own model goes back: token by token on, then over several passes, twice."""
    layer, draw = net(), torch.Generator().manual_seed(1)
    x = torch.randn(1, 30, WIDTH, dtype=torch.float64, generator=draw)
    cache = opened(layer, 1, 4)
    read(layer, cache, x[:, :12])  # longer than a guess: nothing of it can be taken back
    for t in range(12, 16):
        read(layer, cache, x[:, t : t + 1])
    cache.rewind(13)
    for t in (20, 21):
        read(layer, cache, x[:, t : t + 1])
    cache.rewind(13)
    found = read(layer, cache, x[:, 24:27])
    alone = read(layer, opened(layer, 1, None), torch.cat((x[:, :13], x[:, 24:27]), 1))
    torch.testing.assert_close(found, alone[:, -3:], rtol=1e-9, atol=1e-9)
    cache.rewind(12)
    with pytest.raises(UsageError, match="a state that has read 12 tokens cannot be rewound to 11"):
        cache.rewind(11)
    found = read(layer, cache, x[:, 12:20])
    torch.testing.assert_close(found, read(layer, opened(layer, 1, None), x[:, :20])[:, 12:], rtol=1e-9, atol=1e-9)
    cache.rewind(0)
    torch.testing.assert_close(
        read(layer, cache, x[:, 3:9]), read(layer, opened(layer, 1, None), x[:, 3:9]), rtol=1e-9, atol=1e-9
    )


@torch.inference_mode()
def test_rows_that_were_reordered_go_back_as_their_own() -> None:
    layer = net()
    x = torch.randn(2, 9, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    cache = opened(layer, 2, 4)
    read(layer, cache, x[:, :3])
    read(layer, cache, x[:, 3:6])
    cache.reorder(torch.tensor([1, 1, 0]))
    cache.rewind_rows([4, 5, 3])
    found = read(layer, cache, x[[1, 1, 0], 6:])
    for row, (source, length) in enumerate(((1, 4), (1, 5), (0, 3))):
        text = torch.cat((x[source, :length], x[source, 6:]))[None]
        alone = read(layer, opened(layer, 1, None), text)[0, -3:]
        torch.testing.assert_close(found[row], alone, rtol=1e-9, atol=1e-9)


@torch.inference_mode()
def test_a_state_goes_back_only_where_it_was_asked_to_keep_more() -> None:
    layer = net()
    x = torch.randn(1, 5, WIDTH, dtype=torch.float64)
    cache = opened(layer, 1, None)
    read(layer, cache, x)
    assert not cache.can_rewind
    with pytest.raises(UsageError, match="a state that has read 5 tokens cannot be rewound to 4"):
        cache.rewind(4)
    state = layer.new_cache(1)
    before = state.nbytes
    looking = Cache([state, KVCache(1, 9, 1, 1)], 1, 9)
    looking.look_ahead(4)
    assert looking.can_rewind
    assert looking.can_rewind_rows
    read(layer, looking, x[:, :3])
    assert state.nbytes > before  # what is kept to go back is counted
    plain = Cache([StateCache(x=torch.zeros(1, 1))], 1, 9)
    plain.look_ahead(4)
    assert not plain.can_rewind  # of a layer that does not say how
