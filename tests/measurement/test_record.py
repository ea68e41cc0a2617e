"""What was measured, in JSON, in rows and in notes; and a measurement of two models that is short enough to be fast."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.measurement.models import TINY, same, without_layer
from zoo.errors import ZooError
from zoo.generation import GenerationConfig
from zoo.measurement import continuations, measure
from zoo.measurement.continuations import Continuation
from zoo.measurement.measuring import fitting
from zoo.measurement.record import Measured, Measurements


def reading(**numbers: float) -> Any:
    """A text of four tokens, of which the last three are predicted."""
    told = {"tokens": 1234, "perplexity": 12.345, "bits_per_byte": 0.98765, "loss": 2.5} | numbers
    passage = SimpleNamespace(text="ab cde", offsets=[(0, 1), (1, 2), (2, 3), (3, 6)], first=1)
    losses = torch.tensor([0.12345, 1.0, 2.0])
    return SimpleNamespace(to_dict=lambda: told, passage=passage, losses=losses)


def agreement(shown: int = 3) -> Any:
    told = {"loss_difference": 0.0123, "kl": 0.00456, "agreement": 0.98765}
    return SimpleNamespace(to_dict=lambda: told, kl=torch.zeros(shown), same=torch.zeros(3))


SPEED = {"prefill": {"median": 2000.0}, "decode": {"median": 50.0}, "memory": {"peak_bytes": 3 << 20}}
SAID = [Continuation("greedy", "a", "b", [1, 2]), Continuation("seeded", "a", "c", [1, 3])]
FIRST = Measured("one", family="llama", dtype="float32", reading=reading(), continuations=SAID, speed=SPEED)
OTHER = Measured("two", family="llama", dtype="bfloat16", reading=reading(loss=2.75), agreement=agreement(),
                 continuations=[replace(SAID[0], parts_at=7), SAID[1]])  # fmt: skip


def test_rows_hold_a_value_of_each_and_leave_out_what_says_nothing() -> None:
    gone = Measured("three", reason="not here")
    rows = {fact.label: fact.texts for fact in Measurements("t", [FIRST, OTHER, gone]).rows()}
    assert rows == {
        "computed in": ("float32", "bfloat16", ""),
        "tokens of text": ("1,234", "1,234", ""),
        "perplexity": ("12.35", "12.35", ""),
        "bits per byte": ("0.9877", "0.9877", ""),
        "loss, nats per token": ("2.5000", "2.7500", ""),
        "loss above the first's": ("", "+0.012", ""),
        "KL(first to this), nats per token": ("", "0.0046", ""),
        "same next token": ("", "98.77%", ""),
        "greedy text differs at token": ("", "7", ""),
        "seeded text differs at token": ("", "never", ""),
        "prefill": ("2.00k tok/s", "", ""),
        "decode": ("50 tok/s", "", ""),
        "peak memory": ("3 MiB", "", ""),
    }
    assert [fact.label for fact in Measurements("t", [gone]).rows()] == []


def test_places_of_several_prompts_are_a_list() -> None:
    mixed = replace(OTHER, continuations=[replace(SAID[0], parts_at=7), SAID[0]])
    rows = {fact.label: fact.texts for fact in Measurements("t", [mixed]).rows()}
    assert rows["greedy text differs at token"] == ("7, never",)
    assert "seeded text differs at token" not in rows


def test_notes_tell_the_windows_and_what_could_not_be_had() -> None:
    gone, odd = Measured("three", reason="not here"), replace(FIRST, source="four", unlike="vocabularies differ")
    short = replace(OTHER, agreement=agreement(shown=2))
    assert Measurements("t", [FIRST, short, gone, odd], window=1024, stride=512).notes() == [
        "t was read in windows of 1,024 tokens, 512 apart", "three: not here", "four: vocabularies differ",
        "two: KL over the first 2 tokens",
    ]  # fmt: skip
    assert Measurements("t", [FIRST, OTHER]).notes() == []


def test_json_has_what_there_is() -> None:
    assert Measured("three", reason="not here").to_dict() == {"source": "three", "reason": "not here"}
    told = Measurements("t", [FIRST, replace(OTHER, unlike="odd")], 8, 4, {"cores": 2}).to_dict()
    first, other = told["models"]
    assert (told["text"], told["window"], told["stride"], told["environment"]) == ("t", 8, 4, {"cores": 2})
    assert first.keys() == {"source", "family", "dtype", "text", "continuations", "speed", "tokens"}
    assert other.keys() - first.keys() == {"against_first", "unlike"}
    assert other["continuations"][0] == {
        "way": "greedy", "prompt": "a", "text": "b", "tokens": [1, 2], "parts_at": 7
    }  # fmt: skip


def test_pieces_are_the_predicted_tokens_with_what_lies_before_the_next() -> None:
    assert FIRST.pieces() == [("b", 0.1235), (" ", 1.0), ("cde", 2.0)]
    assert FIRST.pieces(most=2) == [("b", 0.1235), (" ", 1.0)]
    assert Measured("three").pieces() == []


@pytest.mark.parametrize(
    ("longest", "prompt", "new"),
    [(None, 128, 64), (256, 128, 64), (255, 127, 63), (5, 2, 1), (1, 1, 1), (9000, 128, 64)],
)
def test_a_prompt_fits_the_context(longest: int | None, prompt: int, new: int) -> None:
    assert fitting(SimpleNamespace(max_seq_len=longest)) == {"prompt": prompt, "new": new}  # type: ignore[arg-type]


@pytest.mark.slow
def test_two_models_are_measured_on_a_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = GenerationConfig(max_new_tokens=3, eos_token_id=[])
    monkeypatch.setattr(continuations, "WAYS", {"greedy": few})
    (tmp_path / "text.txt").write_text("Emma was in the drawing-room with her father.\nIt was very fine.\n")
    sources = [TINY, same(tmp_path / "again", torch.float32), without_layer(tmp_path / "less", 2), tmp_path / "nowhere"]
    heard: list[str] = []
    found = measure(sources, text=tmp_path / "text.txt", window=8, stride=4, tell=heard.append)
    first, again, less, nowhere = found.models
    assert heard == [f"measuring {source}" for source in sources]
    assert (found.window, found.stride) == (8, 4)
    assert nowhere.reason
    assert first.agreement is None
    assert first.reading is not None
    assert again.agreement is not None
    assert less.agreement is not None
    assert less.agreement.mean_kl > 0.1  # a layer of five is gone
    assert [c.parts_at for c in first.continuations] == [None, None]
    assert len(less.continuations[0].tokens) == 3
    assert json.loads(json.dumps(found.to_dict()))["models"][0]["text"]["tokens"] == len(first.reading.losses)
    with pytest.raises(ZooError):
        measure([tmp_path / "nowhere"], text=tmp_path / "text.txt")
    with pytest.raises(ZooError, match="no model to measure"):
        measure([], text=tmp_path / "text.txt")


def test_texts_are_continued_to_one_length_and_drawn_from_one_seed() -> None:
    assert {(way, c.max_new_tokens, tuple(c.eos_token_id or ()), c.temperature, c.seed)
            for way, c in continuations.WAYS.items()} == {
        ("greedy", 32, (), 0.0, None), ("seeded", 32, (), 1.0, 0)
    }  # fmt: skip
    assert all(c.eos_token_id == [] for c in continuations.WAYS.values())
