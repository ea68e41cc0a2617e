"""The gated delta rule: chunks equal the recurrence, and padding leaves the state as it is."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from zoo.nn import GatedDeltaNet, Span, delta_chunks, delta_step

BATCH, TOKENS, HEADS, KEY, VALUE = 2, 23, 3, 5, 4


def drawn() -> tuple[list[Tensor], Tensor]:
    """q, k, v, g and beta, keys of any length, strong and weak decays; and a state that was there before."""
    g = torch.Generator().manual_seed(0)
    shape = (BATCH, TOKENS, HEADS)
    q, k, v = (torch.randn(*shape, width, generator=g, dtype=torch.float64) for width in (KEY, KEY, VALUE))
    decay = -4 * torch.rand(shape, generator=g, dtype=torch.float64) ** 4
    beta = torch.rand(shape, generator=g, dtype=torch.float64)
    state = torch.randn(BATCH, HEADS, KEY, VALUE, generator=g, dtype=torch.float64)
    return [q, k / k.norm(dim=-1, keepdim=True), v, decay, beta], state


def by_definition(parts: list[Tensor], state: Tensor) -> tuple[Tensor, Tensor]:
    """The two lines of the paper, with matrices written out: S = S exp(g) (I - beta k k^T) + beta k v^T."""
    out = torch.zeros(BATCH, TOKENS, HEADS, VALUE, dtype=torch.float64)
    state = state.clone()
    for b in range(BATCH):
        for n in range(HEADS):
            s = state[b, n]
            for t in range(TOKENS):
                q, k, v, g, beta = (x[b, t, n] for x in parts)
                keep = torch.eye(KEY, dtype=torch.float64) - beta * torch.outer(k, k)
                s = g.exp() * keep @ s + beta * torch.outer(k, v)
                out[b, t, n] = s.mT @ q
            state[b, n] = s
    return out, state


@pytest.mark.parametrize("size", [1, 4, 7, 23, 64])
def test_chunks_are_the_recurrence_whatever_their_size(size: int) -> None:
    parts, state = drawn()
    expected, last = by_definition(parts, state)
    found, end = delta_chunks(*parts, state, chunk_size=size)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(end, last, rtol=1e-9, atol=1e-9)


def test_a_step_is_the_recurrence() -> None:
    parts, state = drawn()
    expected, last = by_definition(parts, state)
    out = []
    for t in range(TOKENS):
        y, state = delta_step(*(x[:, t] for x in parts), state)
        out.append(y)
    torch.testing.assert_close(torch.stack(out, 1), expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(state, last, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_strong_decays_neither_overflow_nor_end_in_nan(dtype: torch.dtype) -> None:
    parts, state = drawn()
    parts[3] = parts[3] * 500
    found, end = delta_chunks(*(x.to(dtype) for x in parts), state.to(dtype))
    expected, last = by_definition(parts, state)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)  # float32
    torch.testing.assert_close(end.double(), last, rtol=1e-4, atol=1e-4)


def test_gradients_of_chunks_are_those_of_steps() -> None:
    def grads(size: int) -> list[Tensor]:
        parts, state = drawn()
        leaves = [x.requires_grad_() for x in parts]
        y, end = delta_chunks(*leaves, state, chunk_size=size)
        (y.square().sum() + end.sum()).backward()
        return [leaf.grad for leaf in leaves if leaf.grad is not None]

    for ours, step in zip(grads(23), grads(1), strict=True):
        torch.testing.assert_close(ours, step, rtol=1e-9, atol=1e-9)


@torch.inference_mode()
def test_padding_anywhere_leaves_state_and_convolution_as_they_are() -> None:
    torch.manual_seed(0)
    net = GatedDeltaNet(12, 2, 4, 5, 3, conv_kernel=4, norm_eps=1e-5).double()
    x, more = torch.randn(2, 9, 12, dtype=torch.float64), torch.randn(2, 2, 12, dtype=torch.float64)
    mask = torch.ones(2, 9, dtype=torch.bool)
    mask[0, 7:] = False
    mask[1, 2:5] = False
    cache = net.new_cache(2)
    found = net(x, Span(2, 9, x.device, attention_mask=mask), cache)
    after = net(more, Span(2, 2, x.device), cache)
    for row in range(2):
        whole = torch.cat((x[row][mask[row]], more[row]))[None]
        alone = net(whole, Span(1, whole.shape[1], x.device))[0]
        torch.testing.assert_close(found[row][mask[row]], alone[:-2], rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(after[row], alone[-2:], rtol=1e-9, atol=1e-9)


def test_a_text_longer_than_a_chunk_goes_on_one_by_one() -> None:
    """Beyond the chunk of 64: whole, in pieces across its border, and token by token."""
    torch.manual_seed(1)
    net = GatedDeltaNet(8, 1, 2, 4, 3, conv_kernel=3, norm_eps=1e-5).double()
    x = torch.randn(1, 70, 8, dtype=torch.float64)
    with torch.inference_mode():
        whole = net(x, Span(1, 70, x.device))
        for sizes in ((61, 9), (1,) * 70):
            cache = net.new_cache(1)
            parts = [net(part, Span(1, part.shape[1], x.device), cache) for part in x.split(sizes, 1)]
            torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-9, atol=1e-9)
