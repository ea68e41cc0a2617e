"""Texts as long as a model holds, in rows that reach that after different numbers of tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from zoo.errors import UsageError
from zoo.generation import generate
from zoo.models.construction import build
from zoo.registry import installed

PROMPTS = [[3], [4, 5, 6, 7, 8], [9, 10] * 8 + [11]]


def gpt2(longest: int, seed: int = 0) -> nn.Module:
    """A random GPT-2 that has so many positions, in float64, whose next tokens are not all alike."""
    config = replace(installed()["gpt2"].config_class.tiny(), max_seq_len=longest, eos_token_id=[])
    model = build(config, device="cpu", dtype="float64").eval()
    torch.manual_seed(seed)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4)
    return model


def alone(model: nn.Module, prompt: list[int], most: int) -> list[int]:
    """By hand, without a cache."""
    text = [*prompt]
    while len(text) < most:
        text.append(int(model(torch.tensor([text]))[0, -1].argmax()))
    return text


@pytest.mark.parametrize("settings", [{"max_length": 18}, {}, {"max_length": 18, "prefill_chunk": 4}])
def test_rows_that_reach_the_last_position_let_shorter_ones_go_on(settings: dict[str, Any]):
    """A finished row takes part in each step: beyond the last position it has no place to go."""
    model = gpt2(18)
    found = generate(model, PROMPTS, **settings)
    assert found.tokens == [alone(model, prompt, 18) for prompt in PROMPTS]
    assert found.finish_reasons == ["length"] * 3


@pytest.mark.parametrize("who", ["ngram", "itself", "a shorter one"])
def test_so_do_rows_with_a_draft_which_may_hold_less_than_the_model(who: str):
    model = gpt2(18)
    draft = {"ngram": "ngram", "itself": model, "a shorter one": gpt2(11, seed=1)}[who]
    assert generate(model, PROMPTS, draft=draft).tokens == [alone(model, prompt, 18) for prompt in PROMPTS]
    assert generate(model, PROMPTS[:1], draft=draft, num_draft_tokens=3).tokens == [alone(model, PROMPTS[0], 18)]


def test_so_do_beams():
    model = gpt2(18)
    found = generate(model, PROMPTS, num_beams=3)
    single = [generate(model, prompt, num_beams=3) for prompt in PROMPTS]
    assert found.new_tokens == [one.new_tokens[0] for one in single]
    assert found.scores == pytest.approx([(one.scores or [])[0] for one in single], abs=1e-5)  # kept in float32


def test_a_row_that_would_go_beyond_is_named():
    with pytest.raises(UsageError, match=r"prompt 5 \+ max_new_tokens 14 = 19 tokens, but the model holds 18"):
        generate(gpt2(18), PROMPTS[:2], max_new_tokens=14)
