"""A trained model chooses every token as the reference does, alone and in a batch."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file

from zoo.checkpoint.loading import load
from zoo.generation import generate


@pytest.fixture(scope="module")
def folder(shared: Path) -> Path:
    return shared / "golden" / "stories260K"


def test_the_five_best_logits_of_every_step_are_those_of_the_reference(folder: Path):
    expected = load_file(folder / "expected.safetensors")
    prompt = load_file(folder / "inputs.safetensors")["prompt_ids"].tolist()
    found = generate(load(folder, dtype="float64"), prompt, max_new_tokens=60, return_logits=True)
    assert found.logits is not None
    best = found.logits[0].topk(5)
    assert best.indices.equal(expected["generated_top_ids"].long())
    # The reference is float64, stored as float32: half a unit in the last place of logits up to 32.
    assert (best.values - expected["generated_top_values"]).abs().max() < 2e-6


def test_a_batch_of_the_texts_own_beginnings_goes_on_as_the_text_does(folder: Path):
    text = load_file(folder / "expected.safetensors")["generated_ids"].tolist()[0]
    found = generate(load(folder), [text[:30], text[:5], text[:17]], max_new_tokens=20)
    assert found.new_tokens == [text[30:50], text[5:25], text[17:37]]
