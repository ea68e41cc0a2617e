"""Greedy and beam search, with every penalty and ban, give the texts and scores that transformers gave."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import nn

from tests.generation.expected import EOS, FILE, LENGTH, PROMPTS, SETTINGS, found_by_transformers, golden
from zoo.generation import GenerationConfig, generate
from zoo.verification.goldens.rerun import build_golden


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return build_golden(golden())


@pytest.mark.parametrize("at", range(len(SETTINGS)), ids=lambda i: " ".join(f"{k}={v}" for k, v in SETTINGS[i].items()))
def test_texts_and_scores_are_those_of_transformers(model: nn.Module, at: int) -> None:
    expected: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))[at]
    config = GenerationConfig(max_new_tokens=LENGTH, eos_token_id=EOS, **SETTINGS[at])
    found = generate(model, torch.tensor(PROMPTS), config=config)
    assert found.new_tokens == expected["tokens"]
    if expected["scores"] is not None:  # sums of nine log probabilities in float32
        assert found.scores == pytest.approx(expected["scores"], rel=1e-5)


@pytest.mark.slow
def test_the_texts_are_those_that_transformers_gives() -> None:
    pytest.importorskip("transformers", reason="the reference extra is not installed")
    for kept, found in zip(json.loads(FILE.read_text(encoding="utf-8")), found_by_transformers(), strict=True):
        assert found["tokens"] == kept["tokens"]
        assert found["scores"] == (kept["scores"] and pytest.approx(kept["scores"], abs=1e-9))
