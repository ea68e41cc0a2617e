"""A cache of a kind that zoo does not know: attention sinks, the first tokens and the last (arXiv:2309.17453).

The attention module is zoo's own. What it gives with such a cache is held to one pass over the whole text, under a mask
that lets a query see the same tokens: a mask of a kind that zoo does not know either.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from tests.nn.layers import HIDDEN, attention
from zoo.anatomy.config import RopeConfig
from zoo.nn import Alibi, Cache, Keys, Mask, Places, Rope, Span
from zoo.nn.keys import LatestKeys, RingKeys

CPU = torch.device("cpu")
SINKS, WINDOW, LENGTH = 4, 5, 24


@dataclass(frozen=True)
class Sinks(Mask):
    """The first tokens, and the last up to the query's own."""

    def __call__(self, q: Tensor, k: Tensor) -> Tensor:
        return (k <= q) & ((k < SINKS) | (k > q - WINDOW))


class SinkCache:
    """Keys and values of the first tokens and the last, each with the position it was stored at, in no set order."""

    def __init__(self, batch_size: int, num_kv_heads: int, head_dim: int) -> None:
        slots = SINKS + WINDOW
        self.k = torch.zeros(batch_size, slots, num_kv_heads, head_dim, dtype=torch.float64)
        self.v = self.k.clone()
        self.at = torch.full((batch_size, slots), -1)

    @property
    def nbytes(self) -> int:
        return self.k.nbytes + self.v.nbytes

    def reorder(self, index: Tensor) -> None:
        self.k, self.v, self.at = self.k[index], self.v[index], self.at[index]

    def rewind(self, length: int, before: int) -> None:
        raise NotImplementedError

    def append(self, k: Tensor, v: Tensor, places: Places) -> tuple[Tensor, Tensor, Keys]:
        new = places.positions.expand(len(k), -1)
        if places.padding is not None:
            new = new.masked_fill(~places.padding, -1)
        k, v, at = torch.cat((self.k, k), 1), torch.cat((self.v, v), 1), torch.cat((self.at, new), 1)
        for row, positions in enumerate(at.tolist()):
            last = max(positions)
            for column, p in enumerate(positions):
                if 0 <= p < SINKS or p > max(last - WINDOW, -1):
                    slot = p if p < SINKS else SINKS + p % WINDOW
                    self.k[row, slot], self.v[row, slot], self.at[row, slot] = k[row, column], v[row, column], p
        return k, v, Keys(at)


def run(attn: torch.nn.Module, x: Tensor, sizes: list[int], real: Tensor | None = None) -> Tensor:
    layer = SinkCache(len(x), attn.num_kv_heads, attn.head_dim)
    cache, out, start = Cache([layer], len(x), LENGTH), [], 0
    for size in sizes:
        mask = None if real is None else real[:, start : start + size]
        span = Span(len(x), size, CPU, attention_mask=mask, cache=cache)
        out.append(attn(x[:, start : start + size], span, layer))
        cache.advance(span)
        start += size
    assert layer.at.max(1).values.tolist() == (cache.counts - 1).tolist() if real is not None else True
    return torch.cat(out, 1)


@pytest.mark.parametrize("sizes", [[1] * LENGTH, [10, *[1] * 14], [3, 7, 2, 12], [LENGTH]], ids=str)
@pytest.mark.parametrize("position", ["rope", "alibi"])
@torch.no_grad()
def test_attention_with_a_strangers_cache_is_attention_under_its_mask(sizes: list[int], position: str) -> None:
    told = {"rope": Rope(4, RopeConfig(), LENGTH)} if position == "rope" else {"bias": Alibi(6)}
    attn, x = attention(mask=Sinks(), **told).double(), torch.randn(2, LENGTH, HIDDEN, dtype=torch.float64)
    whole = attn(x, Span(2, LENGTH, CPU))
    assert (run(attn, x, sizes) - whole).abs().max() < 1e-12  # float64 sums in another order
    plain = attention(**told).double()
    plain.load_state_dict(attn.state_dict())
    assert (plain(x, Span(2, LENGTH, CPU)) - whole).abs().max() > 1e-3  # the mask hides something


@torch.no_grad()
def test_its_padded_rows_are_those_of_each_row_alone() -> None:
    attn, x = (
        attention(mask=Sinks(), rope=Rope(4, RopeConfig(), LENGTH)).double(),
        torch.randn(3, LENGTH, HIDDEN).double(),
    )
    real = torch.ones(3, LENGTH, dtype=torch.bool)
    real[0, :6], real[1, 9:12] = False, False
    found = run(attn, x, [14, *[1] * 10], real)
    assert found.isfinite().all()
    for row, keep in enumerate(real):
        alone = attn(x[row, keep][None], Span(1, int(keep.sum()), CPU))
        assert (found[row, keep] - alone[0]).abs().max() < 1e-12  # float64 sums in another order


@pytest.mark.parametrize("window", [None, WINDOW])
def test_a_mask_with_a_rule_of_its_own_is_asked_and_never_guessed_from_its_fields(window: int | None) -> None:
    mask, span = Sinks(window=window), Span(1, LENGTH, CPU)
    q = torch.arange(LENGTH)
    assert torch.equal(span.allowed(mask)[0], mask(q[:, None], q[None]))
    assert not span.is_banded(mask)
    assert not span.is_causal(mask)
    cache = Cache([], 1, LENGTH)
    cache.advance(Span(1, LENGTH - 1, CPU, cache=cache))
    one = Span(1, 1, CPU, cache=cache)
    assert one.allowed(mask, LatestKeys(LENGTH)).sum() == SINKS + WINDOW
    assert one.allowed(mask, RingKeys(LENGTH)).sum() == SINKS + WINDOW


def test_layers_share_the_mask_of_equal_keys() -> None:
    span = Span(1, 3, CPU)
    span.start = 5
    assert span.allowed(Mask(window=2), RingKeys(4)) is span.allowed(Mask(window=2), RingKeys(4))
    assert span.key_positions(RingKeys(4)) is span.key_positions(RingKeys(4))
    assert span.key_positions(RingKeys(3)) is not span.key_positions(RingKeys(4))
