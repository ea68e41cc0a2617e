"""Small passes are computed with one thread, and nothing else is changed by that."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

import zoo
from zoo.generation import GenerationConfig, generate
from zoo.generation.batching import generate_all
from zoo.generation.decoding.threads import FEW, InOneThread, small_size


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


class Watched(nn.Module):
    """A model that notes the threads of each pass."""

    config = None

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.layer, self.seen = nn.Linear(*shape), []

    def forward(self, tokens: torch.Tensor, **named: object) -> torch.Tensor:
        self.seen.append((torch.get_num_threads(), named))
        if named.get("fails"):
            raise ValueError("it fails")
        return tokens


def test_few_tokens_get_one_thread_and_many_get_all():
    model = Watched(32, 64)
    size = small_size(model)
    assert size == 32 * 64
    reader, most = InOneThread(model, size), FEW // size
    for tokens in (torch.zeros(1, most), torch.zeros(1, most + 1), torch.zeros(most, 1)):
        reader(tokens, last=True)
    assert model.seen == [(1, {"last": True}), (3, {"last": True}), (1, {"last": True})]
    with pytest.raises(ValueError, match="it fails"):
        reader(torch.zeros(1, 1), fails=True)
    assert torch.get_num_threads() == 3


def test_large_matrices_and_strange_models_are_left_as_they_are():
    assert small_size(Watched(1024, 1024)) is None
    assert small_size(Watched(32, 64).to("meta")) is None
    assert small_size(object()) is None


def test_generate_and_the_engine_read_with_the_same_threads(monkeypatch: pytest.MonkeyPatch):
    tiny = zoo.load("tiny", dtype="float32")
    seen: set[tuple[tuple[int, ...], int]] = set()
    forward = type(tiny).forward

    def watched(self: object, tokens: torch.Tensor, **more: object) -> torch.Tensor:
        seen.add(((*tokens.shape,), torch.get_num_threads()))
        return forward(self, tokens, **more)

    monkeypatch.setattr(type(tiny), "forward", watched)
    prompts, config = [[7] * 20, [9] * 200], GenerationConfig(max_new_tokens=3)
    for prompt in prompts:
        generate(tiny, [prompt], config=config)
    assert seen == {((1, 20), 1), ((1, 200), 3), ((1, 1), 1)}
    seen.clear()
    generate_all(tiny, prompts, config)
    assert seen == {((1, 20), 1), ((1, 200), 3), ((2, 1), 1)}
