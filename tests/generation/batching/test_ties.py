"""Where rounding could turn a choice, the text is read again by itself."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.generation.batching.test_engine import alone, random_model, tokens_of, told
from zoo.generation import GenerationConfig
from zoo.generation.batching import Beginnings, Engine, Request
from zoo.generation.batching.ties import Slack, is_clear


@pytest.fixture(scope="module")
def torn() -> nn.Module:
    """A model in which half of all tokens have a twin: two that differ in the last bits of their rows alone."""
    model = random_model("llama")
    with torch.no_grad():
        model.lm_head.weight[1::2] = model.lm_head.weight[:-1:2] * (1 + 2.0**-22)
    return model


def test_twins_are_told_apart_as_a_text_alone_tells_them(torn):
    engine = Engine(torn, max_rows=4)
    requests = [
        Request([n, 4, 5], GenerationConfig(max_new_tokens=8, temperature=t, seed=n))
        for n, t in ((3, 0.0), (6, 0.0), (9, 0.7))
    ]
    for request in requests:
        engine.submit(request)
    found = told(engine)
    assert engine.num_reread > 5
    assert [tokens_of(found[r]) for r in requests] == [alone(torn, r).new_tokens[0] for r in requests]


@pytest.mark.slow
def test_one_that_is_alone_is_never_read_again(torn):
    engine = Engine(torn, max_rows=4)
    engine.submit(request := Request([3, 4, 5], GenerationConfig(max_new_tokens=8)))
    assert tokens_of(told(engine)[request]) == alone(torn, request).new_tokens[0]
    assert engine.num_reread == 0


def test_a_larger_error_is_looked_out_for_from_then_on():
    slack = Slack()
    before = slack.of(2.0)
    assert before == 2.0**-16
    slack.learn(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0 + 2.0**-18]))
    assert slack.of(2.0) == before  # as small as was expected
    slack.learn(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0 + 2.0**-12]))
    assert slack.of(2.0) == pytest.approx(2.0**-10, rel=1e-3)
    assert is_clear([3.0, 2.9], 0.04)
    assert not is_clear([3.0, 2.9], 0.06)


def test_prompts_that_begin_alike_are_read_once_and_say_the_same():
    model = random_model("llama", max_seq_len=128)
    beginnings = Beginnings(1 << 22)
    engine = Engine(model, max_rows=2, beginnings=beginnings)
    shared = [3 + i % 9 for i in range(40)]
    for tail in ([3], [4, 5], [6, 7, 8]):
        engine.submit(request := Request([*shared, *tail], GenerationConfig(max_new_tokens=6)))
        assert tokens_of(told(engine)[request]) == alone(model, request).new_tokens[0]
    assert beginnings.num_shared == 2 * len(shared)
    assert 0 < beginnings.nbytes <= beginnings.max_bytes


@pytest.mark.slow
def test_memory_of_beginnings_is_bounded_and_the_oldest_go_first():
    model = random_model("llama", max_seq_len=128)
    one = model.new_cache(1, 40).nbytes
    beginnings = Beginnings(2 * one + 1)
    engine = Engine(model, beginnings=beginnings)
    for first in (3, 4, 5):
        engine.submit(Request([first] * 40, GenerationConfig(max_new_tokens=1)))
        told(engine)
        assert beginnings.nbytes <= beginnings.max_bytes
    assert beginnings.begin([3] * 40, 50) is None
    cache, count = beginnings.begin([5] * 39 + [6], 50)
    assert (count, cache.length) == (39, 39)


@pytest.mark.slow
@pytest.mark.parametrize("window", [4, 64], ids=["a ring that has turned", "a ring that has not"])
def test_a_ring_shares_what_it_still_holds(window):
    model = random_model("mistral", sliding_window=window, max_seq_len=128)
    beginnings = Beginnings(1 << 22)
    engine = Engine(model, beginnings=beginnings)
    for tail in ([3], [4, 5]):
        engine.submit(request := Request([*range(3, 9)] * 5 + tail, GenerationConfig(max_new_tokens=6)))
        assert tokens_of(told(engine)[request]) == alone(model, request).new_tokens[0]
    assert (beginnings.num_shared > 0) == (window == 64)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:prompt")  # the texts are longer than the model was trained for
def test_what_depends_on_a_texts_length_is_not_shared():
    from zoo.anatomy import RopeConfig

    rope = RopeConfig(scaling="dynamic", factor=2.0)
    model = random_model("llama", max_seq_len=16, rope=rope)
    beginnings = Beginnings(1 << 22)
    engine = Engine(model, beginnings=beginnings)
    for tail in ([3], [4, 5]):
        engine.submit(request := Request([*range(3, 9)] * 4 + tail, GenerationConfig(max_new_tokens=6)))
        assert tokens_of(told(engine)[request]) == alone(model, request).new_tokens[0]
    assert beginnings.num_shared == 0
