"""Models on one text: rounding is told from a missing layer, and what cannot be measured has a reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import zoo
from tests.measurement.models import TINY, copy, same, without_layer, write
from zoo.errors import UsageError
from zoo.measurement import Measurements, measure
from zoo.measurement.continuations import first_difference, prompts_of
from zoo.registry import installed

TEXT = (
    "Emma was in the drawing-room with her father, and the evening was very fine.\n"
    '"My dear," said he, "we must not go out; the damp is dangerous, and Mr. Perry would not like it."\n'
    "She could not but smile, and they were all soon talking of the ball.\n"
) * 2


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("text") / "text.txt"
    file.write_text(TEXT)
    return file


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, text: Path) -> Measurements:
    """Tiny in float32, the same again, in bfloat16, without its third layer, and with a larger vocabulary."""
    home = tmp_path_factory.mktemp("models")
    sources = [
        same(home / "fp32", torch.float32),
        same(home / "again", torch.float32),
        same(home / "bf16", torch.bfloat16),
        without_layer(home / "dropped", 2),
        other_vocabulary(home / "larger"),
    ]
    return measure(sources, text=text)


def other_vocabulary(folder: Path) -> Path:
    """Tiny with one row more in its embedding than its tokenizer has tokens."""
    tensors = copy(folder, vocab_size=2049)
    name = "model.embed_tokens.weight"
    return write(folder, tensors | {name: torch.cat([tensors[name], tensors[name][:1]])})


@pytest.mark.slow
def test_the_same_weights_differ_in_nothing(found: Measurements) -> None:
    agreement = found.models[1].agreement
    assert agreement is not None
    assert (agreement.mean_kl, agreement.share) == (0.0, 1.0)
    assert not agreement.losses.any()
    assert all(c.parts_at is None for c in found.models[1].continuations)


@pytest.mark.slow
def test_rounding_is_small_and_a_missing_layer_is_not(found: Measurements) -> None:
    rounded, dropped = (found.models[i].agreement for i in (2, 3))
    assert rounded is not None
    assert dropped is not None
    # bfloat16 keeps 8 bits: probabilities move by parts in a hundred, and KL is of the second order in that.
    assert 0 < rounded.mean_kl < 1e-2
    assert rounded.share > 0.95
    assert dropped.mean_kl > 0.1 > 10 * rounded.mean_kl
    assert dropped.share < 0.9
    assert abs(rounded.losses.mean()) < 0.02 < dropped.losses.mean()
    assert any(c.parts_at is not None for c in found.models[3].continuations)


@pytest.mark.slow
def test_another_vocabulary_is_measured_and_not_compared(found: Measurements) -> None:
    larger = found.models[4]
    assert larger.agreement is None
    assert larger.unlike == "no agreement or KL: the vocabularies differ (2,048 and 2,049 tokens)"
    assert larger.reading is not None
    first = found.models[0].reading
    assert first is not None
    assert larger.reading.loss == pytest.approx(first.loss, rel=1e-2)  # one token more to share with


@pytest.mark.slow
def test_the_record_is_json_and_spells_the_text(found: Measurements) -> None:
    told = json.loads(json.dumps(found.to_dict()))
    assert [m["source"].rpartition("/")[2] for m in told["models"]] == ["fp32", "again", "bf16", "dropped", "larger"]
    pieces = found.models[0].pieces(most=10_000)
    assert "".join(piece for piece, _ in pieces) == TEXT
    labels = [fact.label for fact in found.rows()]
    assert {"perplexity", "bits per byte", "KL(first to this), nats per token", "same next token"} <= set(labels)


@pytest.mark.slow
def test_what_cannot_be_measured_has_its_reason_and_the_others_their_numbers(tmp_path: Path, text: Path) -> None:
    for family in ("bert", "t5"):
        zoo.save(zoo.build(installed()[family].config_class.tiny(), device="cpu"), tmp_path / family)
    names = [str(tmp_path / name) for name in ("bert", "t5", "nowhere")]
    encoder, both, nowhere, tiny = measure([*names, TINY], text=text).models
    assert "does not predict the next token" in encoder.reason
    assert "an encoder-decoder" in both.reason
    assert nowhere.reason
    assert tiny.reading is not None
    assert tiny.agreement is None  # it is the first that could be measured
    with pytest.raises(UsageError, match="does not predict the next token"):
        measure([names[0]], text=text)


@pytest.mark.slow
def test_compare_shows_the_numbers_in_words_and_on_a_page(tmp_path: Path, text: Path) -> None:
    dropped = without_layer(tmp_path / "dropped", 2)
    told = zoo.compare("tiny", str(dropped), "gpt2", text=text)
    assert "same next token" in told.table()
    assert "KL(first to this)" in told.markdown()
    numbers = told.to_dict()["measurements"]
    assert len(numbers["losses"]) == 3
    assert numbers["losses"][2] is None  # gpt2's weights are not here
    assert "The text as each model reads it" in told.html()


def test_two_sequences_part_at_their_first_difference() -> None:
    assert first_difference([1, 2, 3], [1, 2, 3]) is None
    assert first_difference([1, 2, 3], [1, 5, 3]) == 1
    assert first_difference([1, 2], [1, 2, 3]) == 2


def test_prompts_are_beginnings_that_leave_something_to_say() -> None:
    assert prompts_of("One two three.\n\nFour five six.\n") == ["One two", "Four five"]
    (prompt,) = prompts_of("word " * 100)
    assert len(prompt) <= 120
    assert prompt.endswith("word")
    assert prompts_of("x") == ["x"]
