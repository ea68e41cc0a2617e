"""Greedy and beam search, with every penalty and ban, give the texts and scores that transformers gave."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import nn

from tests.generation.expected import (
    EOS,
    FILE,
    GROUPS,
    GROUPS_FILE,
    LENGTH,
    PROMPTS,
    SETTINGS,
    found_by_transformers,
    golden,
)  # fmt: skip
from tests.some import one_in
from zoo.generation import GenerationConfig, generate
from zoo.verification.goldens.rerun import build_golden


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return build_golden(golden())


def named(settings: dict[str, Any]) -> str:
    return " ".join(f"{key}={value}" for key, value in settings.items())


def pairs() -> list[Any]:
    """Settings, and what transformers gave for them."""
    found = []
    for file, asked in ((FILE, SETTINGS), (GROUPS_FILE, GROUPS)):
        kept = json.loads(file.read_text(encoding="utf-8"))
        found += [pytest.param(s, e, id=named(s)) for s, e in zip(asked, kept, strict=True)]
    return found


@pytest.mark.parametrize(("settings", "expected"), one_in(4, pairs()))
def test_texts_and_scores_are_those_of_transformers(
    model: nn.Module, settings: dict[str, Any], expected: dict[str, Any]
) -> None:
    config = GenerationConfig(**({"max_new_tokens": LENGTH, "eos_token_id": EOS} | settings))
    found = generate(model, torch.tensor(PROMPTS), config=config)
    ours = found.new_tokens
    if "num_beam_groups" in settings:  # transformers 4 writes its first end token for whichever it was
        ours = [[EOS[0] if token in EOS else token for token in row] for row in ours]
    assert ours == expected["tokens"]
    if expected["scores"] is not None:  # sums of nine log probabilities in float32
        assert found.scores == pytest.approx(expected["scores"], rel=1e-5)


@pytest.mark.slow
def test_the_texts_are_those_that_transformers_gives() -> None:
    pytest.importorskip("transformers", reason="the reference extra is not installed")
    for kept, found in zip(json.loads(FILE.read_text(encoding="utf-8")), found_by_transformers(), strict=True):
        assert found["tokens"] == kept["tokens"]
        assert found["scores"] == (kept["scores"] and pytest.approx(kept["scores"], abs=1e-9))
