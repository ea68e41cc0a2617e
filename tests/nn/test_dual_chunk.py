"""Dual chunk attention held to the rule as one writes it down: one query, one key and one head at a time."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.nn.naive import close
from zoo.anatomy.config import RopeConfig
from zoo.nn import Attention, Cache, DualChunkAttention, DualChunkRope, RMSNorm, Rope, Span, dual_chunk

D, N, K, H = 20, 6, 2, 8
THETA = 50.0
CHUNK, LOCAL = 8, 3  # chunks of 5


def attention(*, original: int | None = None, chunk: int = CHUNK, local: int = LOCAL, **settings: Any) -> Any:
    rope = DualChunkRope(H, RopeConfig(theta=THETA), 64, chunk_size=chunk, local_size=local)
    return DualChunkAttention(D, N, K, H, rope=rope, original_max_seq_len=original, has_bias=True, **settings)


def run(attn: Any, x: Tensor, cache: Cache | None = None, **padding: Tensor) -> Tensor:
    span = Span(*x.shape[:2], x.device, cache=cache, **padding)
    out = attn(x, span, None if cache is None else cache.layers[0])
    if cache is not None:
        cache.advance(span)
    return out


def by_hand(attn: Any, x: Tensor, *, chunk: int = CHUNK, local: int = LOCAL, s: float = 1.0) -> Tensor:
    """What `attn` ought to make of x [T, D], all keys and scores multiplied by `s`."""
    q, k, v = (p(x).unflatten(-1, (-1, H)) for p in (attn.q_proj, attn.k_proj, attn.v_proj))
    if attn.q_norm is not None:
        q, k = attn.q_norm(q), attn.k_norm(k)
    w, out = chunk - local, torch.zeros_like(q)
    for i in range(len(x)):
        angles = {0: i % w, 1: min(i % w + w, chunk)}
        for n in range(N):
            scores = []
            for j in range(i + 1):
                at = angles.get(i // w - j // w, min(2 * w - 1, chunk))
                scores.append(float(turned(q[i, n], at) @ turned(k[j, n // (N // K)], j % w)) * s * s / math.sqrt(H))
            out[i, n] = torch.tensor(scores).softmax(0) @ v[: i + 1, n // (N // K)]
    return attn.o_proj(out.flatten(-2))


def turned(x: Tensor, position: int) -> Tensor:
    """x [H] rotated as at `position`."""
    angles = position * THETA ** (-torch.arange(0, H, 2) / H)
    z = torch.complex(x[: H // 2], x[H // 2 :]) * torch.exp(1j * angles)
    return torch.cat((z.real, z.imag))


@pytest.mark.slow
@pytest.mark.parametrize("length", [1, 5, 6, 8, 9, 10, 11, 16, 23])
@torch.no_grad()
def test_every_key_meets_the_query_of_its_age(length: int) -> None:
    attn, x = attention(), torch.randn(2, length, D)
    close(run(attn, x), torch.stack([by_hand(attn, row) for row in x]))


@pytest.mark.slow
@pytest.mark.parametrize(("chunk", "local"), [(9, 1), (6, 5), (7, 4), (12, 2)])
@torch.no_grad()
def test_chunks_may_have_any_size(chunk: int, local: int) -> None:
    attn, x = attention(chunk=chunk, local=local), torch.randn(1, 21, D)
    close(run(attn, x)[0], by_hand(attn, x[0], chunk=chunk, local=local))


@pytest.mark.parametrize("length", [3, 6, 8])
@torch.no_grad()
def test_text_that_fits_into_a_chunk_is_attended_as_ever(length: int) -> None:
    attn, x = attention(), torch.randn(2, length, D)
    ordinary = Attention(D, N, K, H, rope=Rope(H, RopeConfig(theta=THETA), 64), has_bias=True, has_out_bias=False)
    ordinary.load_state_dict(attn.state_dict())
    close(run(attn, x), run(ordinary, x))


@torch.no_grad()
def test_norms_come_before_the_rotation() -> None:
    attn = attention(qk_norm=lambda dim: RMSNorm(dim, 1e-6))
    torch.nn.init.uniform_(attn.q_norm.weight, 0.5, 1.5)
    torch.nn.init.uniform_(attn.k_norm.weight, 0.5, 1.5)
    x = torch.randn(1, 13, D)
    close(run(attn, x)[0], by_hand(attn, x[0]))


@pytest.mark.parametrize("cut", [(1,) * 17, (9, *[1] * 8), (4, 4, 4, 4, 1), (2, 11, 4), (16, 1)])
@torch.no_grad()
def test_cache_gives_what_the_whole_gives(cut: tuple[int, ...]) -> None:
    attn, x = attention(), torch.randn(2, 17, D)
    cache = Cache([attn.new_cache(2, 17)], 2, 17)
    close(torch.cat([run(attn, part, cache) for part in x.split(cut, 1)], 1), run(attn, x))


@pytest.mark.parametrize("side", ["left", "right", "both"])
@torch.no_grad()
def test_padded_rows_stand_as_they_would_alone(side: str) -> None:
    attn, x = attention(original=10), torch.randn(3, 16, D)
    real = torch.ones(3, 16, dtype=torch.bool)
    real[0, :4], real[1, 13:] = side == "right", side == "left"
    real[2] = False
    found = run(attn, x, attention_mask=real)
    assert torch.isfinite(found).all()
    for row in range(2):
        close(found[row, real[row]], run(attn, x[row, real[row]][None])[0])


@torch.no_grad()
def test_ragged_rows_go_on_where_they_ended() -> None:
    attn, x, more = attention(), torch.randn(2, 12, D), torch.randn(2, 3, D)
    real = torch.ones(2, 12, dtype=torch.bool)
    real[0, :5] = False
    cache = Cache([attn.new_cache(2, 15)], 2, 15)
    run(attn, x, cache, attention_mask=real)
    found = torch.cat([run(attn, more[:, t : t + 1], cache) for t in range(3)], 1)
    for row in range(2):
        whole = torch.cat((x[row, real[row]], more[row]))[None]
        close(found[row], run(attn, whole)[0, -3:])


@torch.no_grad()
def test_temperature_multiplies_keys_and_scores_beyond_the_original_length() -> None:
    attn, x = attention(original=10), torch.randn(1, 14, D)
    close(run(attn, x)[0], by_hand(attn, x[0], s=0.1 * math.log(14 / 10) + 1))
    close(run(attn, x[:, :10])[0], by_hand(attn, x[0, :10]))


@torch.no_grad()
def test_cached_keys_keep_the_temperature_of_their_time() -> None:
    attn, x = attention(original=6), torch.randn(1, 12, D)
    cache = Cache([attn.new_cache(1, 12)], 1, 12)
    steps = [run(attn, x[:, :8], cache), *(run(attn, x[:, t : t + 1], cache) for t in range(8, 12))]
    keys = attn.rope.own.rotate(attn.k_proj(x).unflatten(-1, (-1, H)), attn.rope.own(torch.arange(12)[None], x.dtype))
    s = torch.tensor([0.1 * math.log(max(t, 8) / 6) + 1 for t in range(1, 13)])
    close(cache.layers[0].k.transpose(1, 2), keys * s[:, None, None])
    assert (torch.cat(steps, 1) - run(attn, x))[0, -1].abs().max() > 1e-4  # as with the released code


@torch.no_grad()
def test_tiles_of_any_size_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    attn, x = attention(), torch.randn(2, 23, D)
    whole = run(attn, x)
    for queries, scores in ((1, 1), (3, 7), (2, 4), (64, 64)):
        monkeypatch.setattr(dual_chunk, "QUERIES", queries)
        monkeypatch.setattr(dual_chunk, "SCORES", scores)
        close(run(attn, x), whole)


def test_gradients_are_those_of_one_softmax(monkeypatch: pytest.MonkeyPatch) -> None:
    attn, x = attention(), torch.randn(1, 13, D, requires_grad=True)
    monkeypatch.setattr(dual_chunk, "QUERIES", 2)
    monkeypatch.setattr(dual_chunk, "SCORES", 6)
    assert torch.autograd.gradcheck(lambda y: run(attn, y), x, fast_mode=True)


@torch.no_grad()
def test_scores_are_never_held_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    attn, held = attention(), []
    add = dual_chunk.RunningMean.add
    monkeypatch.setattr(dual_chunk, "SCORES", 40)
    monkeypatch.setattr(
        dual_chunk.RunningMean, "add", lambda self, s, v: (held.append(s.numel() // N), add(self, s, v))[1]
    )
    run(attn, torch.randn(1, 40, D))
    assert max(held) <= 40
    assert sum(held) < 40 * 40  # nor those of later chunks computed
