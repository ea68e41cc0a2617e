"""A long prompt is read a layer at a time: others go on meanwhile, and its text is what it would be."""

from __future__ import annotations

import threading

import pytest
import torch

from zoo.errors import UsageError
from zoo.generation import GenerationConfig, generate
from zoo.generation.batching import Engine, Request
from zoo.generation.batching.slices import LONG, Slices, layers_of
from zoo.models.construction import build
from zoo.registry import installed

CONFIG = GenerationConfig(max_new_tokens=8)
PROMPT = [number * 7 % 8 + 3 for number in range(LONG + 40)]


@pytest.fixture(scope="module")
def model():
    config = installed()["llama"].config_class.tiny()
    config.num_layers, config.max_seq_len, config.eos_token_id = 5, 512, []
    return build(config, device="cpu", dtype="float32", seed=0).eval()


def hooks_of(model: torch.nn.Module) -> int:
    return sum(len(layer._forward_pre_hooks) for layer in model.layers)


def test_others_take_a_step_between_two_layers_and_no_text_changes(model):
    short, long = Request([5, 6, 7], CONFIG), Request(PROMPT, CONFIG)
    engine = Engine(model, max_rows=4)
    engine.submit(short)
    engine.step()
    engine.submit(long)
    begun: list[int] = []  # texts' tokens in each step
    layers: list[int] = []  # of the long prompt, begun in each step
    handles = [
        layer.register_forward_pre_hook(lambda m, given: layers.append(0) if given[0].shape[1] > LONG else None)
        for layer in model.layers
    ]
    tokens: dict[Request, list[int]] = {short: [], long: []}
    while not engine.is_idle:
        before = len(layers)
        pieces = engine.step()
        assert len(layers) - before <= 1
        begun.append(sum(piece.request is short for piece in pieces))
        for piece in pieces:
            tokens[piece.request] += piece.tokens
    for handle in handles:
        handle.remove()
    assert len(layers) == 5
    assert begun[:6] == [1] * 6  # what is before the first of five layers, and each of them
    assert tokens[long] == generate(model, [PROMPT], config=CONFIG).new_tokens[0]
    assert hooks_of(model) == 0


def test_what_was_computed_is_the_same_to_the_last_bit(model):
    tokens = torch.tensor([PROMPT])
    with torch.inference_mode():
        whole = model(tokens, last=True)
    slices = Slices(model, lambda: model(tokens, last=True))
    count = 0
    while not slices.is_done:
        slices.advance()
        count += 1
    assert count == 6
    assert torch.equal(slices.result(), whole)


def test_who_goes_away_while_the_prompt_is_read_leaves_nothing(model):
    for leave in (
        lambda engine, request: setattr(request, "is_cancelled", True),
        lambda engine, request: engine.reset(),
    ):
        engine, request = Engine(model, max_rows=2), Request(PROMPT, CONFIG)
        engine.submit(request)
        for _ in range(3):
            assert engine.step() == []
        assert hooks_of(model) == 5
        leave(engine, request)
        engine.step()
        assert engine.is_idle
        assert hooks_of(model) == 0
    assert not [thread for thread in threading.enumerate() if thread.name == "zoo-prompt" and thread.is_alive()]


def test_what_is_wrong_with_a_long_prompt_ends_it_alone(model):
    short, wrong = Request([5, 6], CONFIG), Request([*PROMPT, 99], CONFIG)
    engine = Engine(model, max_rows=4)
    engine.submit(short)
    engine.submit(wrong)
    pieces = []
    while not engine.is_idle:
        pieces += engine.step()
    errors = [piece for piece in pieces if piece.error is not None]
    assert [piece.request for piece in errors] == [wrong]
    assert isinstance(errors[0].error, UsageError)
    assert [t for p in pieces for t in p.tokens] == generate(model, [[5, 6]], config=CONFIG).new_tokens[0]


def test_probabilities_of_a_long_prompt_change_no_other_text(model):
    short, long = Request([5, 6, 7], CONFIG), Request(PROMPT, CONFIG, scores_prompt=True)
    engine = Engine(model, max_rows=4)
    for request in (short, long):
        engine.submit(request)
    tokens: dict[Request, list[int]] = {short: [], long: []}
    while not engine.is_idle:
        for piece in engine.step():
            tokens[piece.request] += piece.tokens
    for request in (short, long):
        assert tokens[request] == generate(model, [request.prompt], config=CONFIG).new_tokens[0]
    assert len(long.prompt_scores or []) == len(PROMPT)


def test_several_long_prompts_are_read_in_their_order(model):
    requests = [Request([*PROMPT, number], CONFIG) for number in (3, 4)]
    engine = Engine(model, max_rows=2)
    for request in requests:
        engine.submit(request)
    first = []
    while not engine.is_idle:
        first += [piece.request for piece in engine.step() if piece.tokens and piece.request not in first]
    assert first == requests


@pytest.mark.slow
def test_a_long_text_that_is_read_again_pauses_as_well(model):
    request = Request(PROMPT, CONFIG)
    engine = Engine(model, max_rows=2)
    engine.slack.share = 1.0  # every choice of a text that does not stand alone hangs on its last bits
    engine.submit(Request([5, 6, 7], GenerationConfig(max_new_tokens=40)))
    engine.submit(request)
    tokens: list[int] = []
    seen: list[int] = []
    handle = model.layers[0].register_forward_pre_hook(lambda m, given: seen.append(given[0].shape[1]))
    while not engine.is_idle:
        tokens += [token for piece in engine.step() if piece.request is request for token in piece.tokens]
    handle.remove()
    assert sum(width > LONG for width in seen) > 1
    assert tokens == generate(model, [PROMPT], config=CONFIG).new_tokens[0]
    assert hooks_of(model) == 0


def test_layers_are_the_members_of_the_outermost_lists(model):
    assert [*layers_of(model)] == [*model.layers]
    assert [*layers_of(object())] == []
