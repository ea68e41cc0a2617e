"""All texts of all prompts by the engine: what `zoo.generate` gives, with its draws."""

from __future__ import annotations

import pytest
import torch

import zoo
from tests.some import some
from zoo.errors import UsageError
from zoo.generation import GenerationConfig, generate
from zoo.generation.batching import generate_all

PROMPTS = ["She had been", "It was the best of times, it was"]
WAYS = {
    "greedy": {}, "drawn": {"temperature": 0.9, "seed": 4}, "of the global generator": {"temperature": 1.1},
    "several": {"temperature": 1.0, "seed": 2, "num_return_sequences": 2}, "stopped": {"stop": ["the"]},
    "in parts": {"prefill_chunk": 2}, "in 8 bits": {"cache": "int8"}, "guided": {"guidance_scale": 1.5},
    "drawn in 8 bits": {"cache": "int8", "temperature": 1.0, "seed": 5, "num_return_sequences": 2},
}  # fmt: skip


@pytest.fixture(scope="module")
def tiny():
    return zoo.load("tiny", dtype="float32")


@pytest.mark.parametrize("way", some(WAYS, "greedy", "several"))
def test_texts_draws_and_reasons_are_those_of_generate(tiny, way):
    config = GenerationConfig(max_new_tokens=8, **WAYS[way])
    found = []
    for make in (generate, generate_all):
        torch.manual_seed(1)
        found.append(make(tiny, PROMPTS, config=config, tokenizer=tiny.ledger.tokenizer))
    assert found[1] == found[0]


def test_rows_beyond_what_is_made_at_once_draw_by_their_own_numbers(tiny):
    config = GenerationConfig(max_new_tokens=4, temperature=1.0, seed=3)
    prompts = [[5, 9], [7], [5, 9], [8, 4, 3]]
    assert (
        generate_all(tiny, prompts, config, max_rows=2).new_tokens == generate(tiny, prompts, config=config).new_tokens
    )


def test_a_prompt_that_cannot_be_is_told_by_its_number(tiny):
    for prompts in ([[5], []], [[5], [99999]]):
        with pytest.raises(UsageError, match="prompt 1"):
            generate_all(tiny, prompts, GenerationConfig(max_new_tokens=2))
