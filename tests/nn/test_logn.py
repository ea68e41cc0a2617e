"""What stretches the first Qwen's context: bases in steps, sharper queries, and a base that stays the prompt's."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tests.nn.naive import close
from zoo.anatomy.config import RopeConfig
from zoo.nn import Attention, Cache, LogNAttention, Rope, Span, SteppedRope

D, N, H, TRAINED = 12, 3, 4, 8


def stepped(theta: float = 100.0, partial: float = 1.0) -> SteppedRope:
    return SteppedRope(H, RopeConfig(theta=theta, partial=partial), TRAINED)


def attention(rope: Rope | None = None, trained: int | None = TRAINED) -> LogNAttention:
    return LogNAttention(D, N, H, rope=rope or stepped(), trained_seq_len=trained)


def run(attn: LogNAttention, x: Tensor, cache: Cache | None = None, **padding: Tensor) -> Tensor:
    span = Span(*x.shape[:2], x.device, cache=cache, **padding)
    out = attn(x, span, None if cache is None else cache.layers[0])
    if cache is not None:
        cache.advance(span)
    return out


@pytest.mark.parametrize(
    ("length", "alpha"), [(1, 1), (8, 1), (9, 3), (16, 3), (17, 7), (32, 7), (33, 15), (4000, 1023)]
)
def test_base_grows_in_steps_of_a_doubled_context(length: int, alpha: int) -> None:
    positions = torch.arange(5)[None]
    found = stepped()(positions, torch.float64, torch.tensor([length]))
    plain = Rope(H, RopeConfig(theta=100.0 * alpha ** (H / (H - 2))), TRAINED)(positions, torch.float64)
    for a, b in zip(found, plain, strict=True):
        close(a, b)


def test_each_row_has_the_base_of_its_own_length() -> None:
    positions, rope = torch.arange(20).expand(2, -1), stepped()
    cos, _ = rope(positions, torch.float64, torch.tensor([7, 20]))
    for row, length in enumerate((7, 20)):
        close(cos[row], rope(positions[:1], torch.float64, torch.tensor([length]))[0][0])


@torch.no_grad()
def test_queries_grow_with_the_logarithm_of_their_position() -> None:
    attn, x = attention(Rope(H, RopeConfig(theta=100.0), 64)), torch.randn(1, 12, D)
    found = run(attn, x)
    plain = Attention(D, N, N, H, rope=attn.rope, has_bias=True, has_out_bias=False)
    plain.load_state_dict(attn.state_dict())
    close(found[:, :TRAINED], run(plain, x)[:, :TRAINED])
    factor = math.log(11) / math.log(TRAINED)  # at position 10
    plain.q_proj.weight.mul_(factor), plain.q_proj.bias.mul_(factor)
    close(found[:, 10], run(plain, x)[:, 10])


@torch.no_grad()
def test_base_of_the_prompt_stays_while_tokens_are_added() -> None:
    attn, x = attention(trained=None), torch.randn(1, 12, D)
    cache = Cache([attn.new_cache(1, 12)], 1, 12)
    found = torch.cat([run(attn, part, cache) for part in x.split((6, 1, 1, 1, 1, 2), 1)], 1)
    unstretched = attention(Rope(H, RopeConfig(theta=100.0), 64), trained=None)
    unstretched.load_state_dict(attn.state_dict())
    close(found, run(unstretched, x))
    assert (found - run(attn, x)).abs().max() > 1e-3  # one pass over the whole takes the whole's base


@torch.no_grad()
def test_a_prompt_beyond_the_trained_context_goes_on_as_one_pass() -> None:
    attn, x = attention(), torch.randn(2, 15, D)
    cache = Cache([attn.new_cache(2, 15)], 2, 15)
    close(torch.cat([run(attn, part, cache) for part in x.split((10, 1, 1, 3), 1)], 1), run(attn, x))


@torch.no_grad()
def test_padded_rows_stand_as_they_would_alone_and_keep_it_when_reordered() -> None:
    attn, x, more = attention(), torch.randn(2, 14, D), torch.randn(2, 1, D)
    real = torch.ones(2, 14, dtype=torch.bool)
    real[0, :7] = False  # 7 tokens keep the base, 14 do not
    cache = Cache([attn.new_cache(2, 16)], 2, 16)
    found = run(attn, x, cache, attention_mask=real)
    for row in range(2):
        close(found[row, real[row]], run(attn, x[row, real[row]][None])[0])
    alone = []
    for row in (1, 0):
        one = Cache([attn.new_cache(1, 16)], 1, 16)
        run(attn, x[row, real[row]][None], one)
        alone.append(run(attn, more[row : row + 1], one))
    cache.reorder(torch.tensor([1, 0]))
    close(run(attn, more.flip(0), cache), torch.cat(alone))


@torch.no_grad()
def test_a_cache_used_again_from_the_start_takes_the_new_prompts_length() -> None:
    attn = attention()
    long, short = torch.randn(1, 12, D), torch.randn(1, 5, D)
    cache = Cache([attn.new_cache(1, 12)], 1, 12)
    run(attn, long, cache)
    cache.rewind(0)
    close(run(attn, short, cache), run(attn, short))
