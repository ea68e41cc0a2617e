"""Attention to a source: each row sees its own, padding apart, and keeps it wherever the row goes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.nn.naive import close
from zoo.errors import UsageError
from zoo.models.construction import build
from zoo.nn import CrossAttention, KVCache, Memory
from zoo.nn.cross import DecoderLayerCache
from zoo.registry import installed

HIDDEN = 10


@pytest.fixture
def cross() -> CrossAttention:
    attn = CrossAttention(HIDDEN, 3, 4, has_bias=True)
    for parameter in attn.parameters():
        nn.init.normal_(parameter, std=0.6)
    return attn


def memory() -> Memory:
    """Sources of 5, 3 and no tokens."""
    real = torch.tensor([[True] * 5, [False, True, True, True, False], [False] * 5])
    return Memory(torch.randn(3, 5, HIDDEN), real)


@torch.no_grad()
def test_a_row_sees_the_real_tokens_of_its_own_source(cross: CrossAttention) -> None:
    m, x = memory(), torch.randn(3, 2, HIDDEN)
    found = cross(x, cross.keys_and_values(m))
    for row in range(2):
        states = m.states[row, m.is_real[row]]
        q, k, v = (p(y).unflatten(-1, (3, 4)) for p, y in
                   ((cross.q_proj, x[row]), (cross.k_proj, states), (cross.v_proj, states)))  # fmt: skip
        out = torch.stack([(q[:, n] @ k[:, n].T / 2).softmax(-1) @ v[:, n] for n in range(3)], 1)
        close(found[row], cross.o_proj(out.flatten(1)))


def test_a_source_of_nothing_but_padding_is_read_as_if_it_were_none(cross: CrossAttention) -> None:
    m, x = memory(), torch.randn(3, 2, HIDDEN, requires_grad=True)
    out = cross(x, cross.keys_and_values(m))
    close(out[2], cross(x, cross.keys_and_values(Memory(m.states)))[2])
    out[:2].sum().backward()
    assert x.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in cross.parameters())


@torch.no_grad()
def test_reordered_rows_take_their_sources_along_with_what_is_padding(cross: CrossAttention) -> None:
    m, x, index = memory(), torch.randn(3, 1, HIDDEN), torch.tensor([1, 1, 0])
    layer = DecoderLayerCache(KVCache(3, 4, 3, 4))
    source = layer.source_of(cross, m)
    assert layer.source_of(cross, memory()) is source  # computed once
    assert layer.nbytes == layer.own.nbytes + 2 * 3 * 5 * 3 * 4 * 8
    layer.reorder(index)
    expected = cross(x, cross.keys_and_values(Memory(m.states[index], m.is_real[index])))
    close(cross(x, layer.source_of(cross, m)), expected)


@torch.no_grad()
def test_rows_that_share_sources_share_them_evenly() -> None:
    model = build(installed()["t5"].config_class.tiny(), device="cpu", dtype="float64")
    sources, target = torch.tensor([[5, 6, 7], [8, 9, 10]]), torch.tensor([[3, 4]] * 4)
    reader = model.conditioned(sources)
    found = reader(target, cache=reader.new_cache(4, 2))
    close(found, model(sources.repeat_interleave(2, 0), target))
    for rows in (1, 3):
        with pytest.raises(UsageError, match=f"{rows} rows cannot share 2 sources evenly"):
            reader.new_cache(rows, 2)
