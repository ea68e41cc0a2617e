"""Caches against a plain list of what was written."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from zoo.errors import UsageError, ZooError
from zoo.nn import NEW, Cache, Keys, KVCache, Mask, SettledCache, SlidingKVCache, Span, StateCache
from zoo.nn.keys import RingKeys

CPU = torch.device("cpu")


def write(cache: Cache, numbers: Tensor, padding: Tensor | None = None) -> tuple[Tensor, Keys]:
    """Append numbers [B, T] to the only layer of `cache` as keys, minus them as values; gives the keys [B, S]."""
    span = Span(*numbers.shape, CPU, attention_mask=padding, cache=cache)
    x = numbers.double()[..., None, None]
    k, v, where = cache.layers[0].append(x, -x, span)
    assert torch.equal(k, -v)
    cache.advance(span)
    return k[:, :, 0, 0], where


def full(batch_size: int, max_len: int) -> Cache:
    return Cache([KVCache(batch_size, max_len, 1, 1)], batch_size, max_len)


def ring(batch_size: int, max_len: int, window: int) -> Cache:
    return Cache([SlidingKVCache(batch_size, max_len, 1, 1, window=window)], batch_size, max_len)


@pytest.mark.slow
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_a_full_cache_gives_back_everything_in_order(chunks: list[int]) -> None:
    cache, written = full(2, sum(chunks)), torch.zeros(2, 0)
    for size in chunks:
        new = torch.randn(2, size)
        written = torch.cat((written, new), 1)
        assert torch.equal(write(cache, new)[0], written)
    assert cache.length == sum(chunks)


@given(st.integers(1, 7), st.lists(st.integers(1, 16), min_size=1, max_size=6))
def test_a_ring_gives_the_window_before_and_the_new_and_holds_the_last(window: int, chunks: list[int]) -> None:
    """Covers its start, wrap-around, and chunks below, at and above the window's size."""
    cache, written = ring(1, sum(chunks), window), []
    for size in chunks:
        new = [len(written) + i for i in range(size)]
        keys, where = write(cache, torch.tensor([new]))
        if where == NEW or isinstance(where, RingKeys):
            assert keys[0].tolist() == written[-cache.layers[0].window :] * isinstance(where, RingKeys) + new
        else:
            assert sorted(keys[0].tolist()) == (written + new)[-cache.layers[0].window :]
        written += new
        held = sorted(cache.layers[0].k[0, 0, : len(written), 0].tolist())
        assert held == written[-cache.layers[0].window :]


@pytest.mark.slow
@given(st.data())
def test_padding_is_never_stored(data: st.DataObject) -> None:
    """Rows of any raggedness, holes included: slot p holds the row's p-th real token."""
    window = data.draw(st.sampled_from([None, 1, 3, 4]))
    cache = full(3, 40) if window is None else ring(3, 40, window)
    rows: list[list[float]] = [[], [], []]
    for _ in range(data.draw(st.integers(1, 5))):
        size = data.draw(st.integers(1, 8))
        padding = torch.tensor(
            data.draw(st.lists(st.lists(st.booleans(), min_size=size, max_size=size), min_size=3, max_size=3))
        )
        numbers = torch.randn(3, size)
        write(cache, numbers, padding)
        for row, new, real in zip(rows, numbers, padding, strict=True):
            row += new[real].tolist()
    assert cache.counts.tolist() == [len(row) for row in rows]
    slots = window or 40
    for b, row in enumerate(rows):
        held = cache.layers[0].k[b, 0, :, 0]
        for p in range(max(0, len(row) - slots), len(row)):
            assert held[p % slots] == row[p]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_bytes_are_those_of_the_slots(dtype: torch.dtype) -> None:
    size = {torch.bfloat16: 2, torch.float32: 4, torch.float64: 8}[dtype]
    layer = KVCache(3, 50, 2, 8, v_dim=5, dtype=dtype)
    sliding = SlidingKVCache(3, 50, 2, 8, window=16, dtype=dtype)
    short = SlidingKVCache(3, 10, 2, 8, window=16, dtype=dtype)  # no ring is longer than the text can be
    assert layer.nbytes == 3 * 50 * 2 * (8 + 5) * size
    assert sliding.nbytes == 3 * 16 * 2 * 16 * size
    assert short.nbytes == 3 * 10 * 2 * 16 * size
    assert Cache([layer, sliding, short], 3, 50).nbytes == layer.nbytes + sliding.nbytes + short.nbytes


@pytest.mark.parametrize("window", [None, 3])
def test_writing_past_the_end_is_refused_and_changes_nothing(window: int | None) -> None:
    cache = full(2, 6) if window is None else ring(2, 6, window)
    write(cache, torch.ones(2, 4))
    held = cache.layers[0].k.clone()
    with pytest.raises(UsageError, match="holds 6 tokens and has 4; 3 more do not fit") as error:
        write(cache, torch.ones(2, 3))
    assert isinstance(error.value, ZooError)
    assert cache.length == 4
    assert torch.equal(cache.layers[0].k, held)
    write(cache, torch.ones(2, 2))


def test_another_batch_size_is_refused() -> None:
    with pytest.raises(UsageError, match="2 rows, the tokens have 3"):
        write(full(2, 6), torch.ones(3, 1))


@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("is_ragged", [False, True])
def test_reordered_rows_go_on_as_if_they_had_always_stood_there(window: int | None, is_ragged: bool) -> None:
    index = torch.tensor([2, 0, 0])
    padding = torch.tensor([[True] * 7, [False] * 2 + [True] * 5, [True] * 4 + [False] * 3]) if is_ragged else None
    numbers, after = torch.randn(3, 7), torch.randn(3, 2)
    cache, direct = (full(3, 12) if window is None else ring(3, 12, window) for _ in range(2))
    write(cache, numbers, padding)
    cache.reorder(index)
    write(direct, numbers[index], None if padding is None else padding[index])
    assert torch.equal(write(cache, after)[0], write(direct, after)[0])
    assert cache.length == direct.length
    assert (cache.counts is None) if padding is None else torch.equal(cache.counts, direct.counts)


@pytest.mark.parametrize("window", [None, 8])
def test_a_rewound_cache_has_forgotten(window: int | None) -> None:
    cache, direct = (full(2, 12) if window is None else ring(2, 12, window) for _ in range(2))
    kept, wrong, after = torch.randn(2, 4), torch.randn(2, 3), torch.randn(2, 5)
    write(cache, kept)
    write(cache, wrong)
    cache.rewind(4)
    write(direct, kept)
    for part in after.split((1, 4), 1):
        assert torch.equal(write(cache, part)[0].sort().values, write(direct, part)[0].sort().values)
    assert cache.length == direct.length == 9


def test_what_a_ring_has_overwritten_cannot_be_given_back() -> None:
    cache = ring(2, 12, 4)
    write(cache, torch.randn(2, 5))
    with pytest.raises(
        UsageError, match="a ring of 4 tokens that has seen 5 cannot be rewound to 4\ngenerate without draft="
    ):
        cache.rewind(4)
    assert cache.length == 5
    cache.rewind(5)  # to where it stands


@pytest.mark.parametrize("length", [-1, 4])
def test_a_cache_is_rewound_to_where_it_has_been_only(length: int) -> None:
    cache = full(2, 12)
    write(cache, torch.randn(2, 3))
    with pytest.raises(UsageError, match=f"a cache of 3 tokens cannot be rewound to {length}"):
        cache.rewind(length)


def test_padded_rows_cannot_be_rewound() -> None:
    cache = full(2, 12)
    write(cache, torch.randn(2, 3), torch.tensor([[False, True, True], [True, True, True]]))
    with pytest.raises(UsageError, match="and a cache of padded rows never can"):
        cache.rewind(2)


@pytest.mark.parametrize("window", [None, 4])
def test_rows_may_be_doubled_and_dropped(window: int | None) -> None:
    cache = full(2, 12) if window is None else ring(2, 12, window)
    numbers = torch.randn(2, 6)
    write(cache, numbers)
    cache.reorder(torch.tensor([1, 1, 0]))
    new = torch.randn(3, 1)
    expected = torch.cat((numbers[[1, 1, 0]], new), 1)[:, -(window or 7) :]
    assert torch.equal(write(cache, new)[0].sort().values, expected.sort().values)


def test_a_cache_is_where_and_what_it_is_asked_to_be() -> None:
    layer = KVCache(1, 2, 3, 4, dtype=torch.bfloat16, device="meta")
    assert (layer.k.dtype, layer.k.device.type) == (torch.bfloat16, "meta")


def test_a_state_is_read_replaced_reordered_and_not_taken_apart() -> None:
    state = StateCache(conv=torch.tensor([[1.0], [2.0]]).float(), ssm=torch.tensor([[3.0], [4.0]]).double())
    assert state.nbytes == 2 * 4 + 2 * 8
    state["conv"] = state["conv"] + 10
    state.reorder(torch.tensor([1, 1, 0]))
    assert state["conv"].tolist() == [[12], [12], [11]]
    assert state["ssm"].tolist() == [[4], [4], [3]]
    state.rewind(5, 5)
    with pytest.raises(UsageError, match="a state that has read 5 tokens cannot be rewound to 3"):
        state.rewind(3, 5)
    assert state["ssm"].tolist() == [[4], [4], [3]]
    state.rewind(0, 5)
    assert not state["conv"].any()
    assert not state["ssm"].any()


def test_a_cache_with_a_state_says_that_it_cannot_be_rewound() -> None:
    keys = KVCache(1, 4, 1, 2)
    assert Cache([keys], 1, 4).can_rewind
    assert not Cache([keys, StateCache(x=torch.zeros(1, 1))], 1, 4).can_rewind


@given(st.data())
def test_rows_of_a_ring_that_looks_ahead_go_back_by_themselves(data: st.DataObject) -> None:
    """Against a list of each row: after any chunks and rewinds the window before a new token is all there."""
    window, ahead = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    cache, rows, number = ring(3, 200, window), [[0.0] * 0 for _ in range(3)], 0
    cache.look_ahead(ahead)
    for _ in range(data.draw(st.integers(1, 6))):
        sizes = data.draw(st.lists(st.integers(1, 1 + ahead), min_size=3, max_size=3))
        width = max(sizes)
        padding = torch.tensor([[column >= width - size for column in range(width)] for size in sizes])
        numbers = torch.arange(number + 1, number + 1 + 3 * width).view(3, width)
        number += 3 * width
        before = [len(row) for row in rows]
        span = Span(3, width, CPU, attention_mask=padding, cache=cache)
        x = numbers.double()[..., None, None]
        k, _, where = cache.layers[0].append(x, -x, span)
        cache.advance(span)
        for row, new, real in zip(rows, numbers, padding, strict=True):
            row += new[real].tolist()
        allowed = span.allowed(Mask(window=window), where)
        for b, row in enumerate(rows):
            seen = sorted(k[b, allowed[b, -1], 0, 0].tolist())
            assert seen == row[-window:]
        back = [data.draw(st.integers(0, len(row) - had - 1)) for row, had in zip(rows, before, strict=True)]
        rows = [row[: len(row) - n] for row, n in zip(rows, back, strict=True)]
        cache.rewind_rows([len(row) for row in rows])
        assert cache.length == max(map(len, rows))


def test_a_ring_that_looks_ahead_shows_one_token_its_window_alone_and_goes_back_no_further() -> None:
    cache = ring(1, 30, 4)
    cache.look_ahead(2)
    assert cache.layers[0].k.shape[2] == 6
    write(cache, torch.arange(9)[None])
    cache.rewind(7)
    span = Span(1, 1, CPU, cache=cache)
    x = torch.tensor([[[[7.5]]]]).double()
    k, _, where = cache.layers[0].append(x, x, span)
    allowed = span.allowed(Mask(window=4), where)
    assert allowed is not None
    assert sorted(k[0, allowed[0, 0], 0, 0].tolist()) == [4, 5, 6, 7.5]
    cache.advance(span)
    with pytest.raises(UsageError, match="a ring of 6 tokens that has seen 9 cannot be rewound to 6"):
        cache.rewind(6)  # 9 tokens were there, and the oldest of the window before 6 is gone


def test_rows_of_a_state_and_of_what_belongs_together_stay() -> None:
    cache = Cache([KVCache(2, 4, 1, 2), StateCache(x=torch.zeros(2, 1))], 2, 4)
    assert not cache.can_rewind_rows
    settled = SettledCache([KVCache(2, 9, 1, 1)], 2, 9)
    write(settled, torch.randn(2, 3), torch.tensor([[False, True, True], [True, True, True]]))
    settled.settle()
    settled.reorder(torch.tensor([1, 0]))
    write(settled, torch.randn(2, 2))
    with pytest.raises(UsageError, match=r"cannot be rewound to \[2, 3\]"):
        settled.rewind_rows([2, 3])
    settled.rewind_rows([3, 4])
    assert settled.counts is not None
    assert settled.counts.tolist() == [3, 4]
    with pytest.raises(UsageError, match=r"a cache of \[3, 4\] tokens cannot be rewound to \[4, 4\]"):
        settled.rewind_rows([4, 4])
