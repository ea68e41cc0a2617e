"""Stop texts and streams: what was told once is never taken back."""

from __future__ import annotations

import itertools
import random

import pytest
import torch

from zoo.errors import UsageError, ZooError
from zoo.generation import GenerationConfig, generate, stream
from zoo.generation.decoding.stopping import StopStrings

from ..models import LetterTokenizer, TableModel


def run(stop: StopStrings, pieces: list[str]) -> str:
    told = "".join(stop.push(piece) for piece in pieces if not stop.is_hit)
    return told + ("" if stop.is_hit else stop.finish())


@pytest.mark.parametrize("stop", [["STOP"], ["STO", "TOP"], ["aab"], ["aa"], ["y"], []])
def test_a_text_is_cut_before_the_first_stop_text_wherever_the_pieces_part(stop: list[str]):
    chance = random.Random(0)
    for _ in range(300):
        text = "".join(chance.choice("aabSTOPxyz") for _ in range(chance.randrange(12)))
        cuts = sorted(chance.sample(range(len(text) + 1), min(3, len(text) + 1)))
        pieces = [text[i:j] for i, j in itertools.pairwise([0, *cuts, len(text)])]
        found = run(StopStrings(stop), pieces)
        whole = min((text.find(s) for s in stop if s in text), default=len(text))
        assert found == text[:whole]


def test_of_several_stop_texts_in_one_piece_the_first_to_begin_counts():
    assert StopStrings(["END", "a"]).push("xaEND") == "x"
    assert StopStrings(["a", "END"]).push("xENDa") == "x"


def test_only_what_may_begin_a_stop_text_is_held_back():
    stop = StopStrings(["END", "\n\n"])
    assert [stop.push(piece) for piece in ("a", "E", "N", "E", "F\n", "b\n", "\nc")] == [
        "a",
        "",
        "",
        "EN",
        "EF",
        "\nb",
        "",
    ]
    assert stop.is_hit
    assert stop.push("more") == ""


def test_a_stream_joined_is_the_text_of_generate():
    tokenizer = LetterTokenizer()
    for seed in range(6):
        model = TableModel(seed=seed, scale=1.0)
        settings = {"tokenizer": tokenizer, "max_new_tokens": 30, "temperature": 1.0, "seed": seed}
        whole = generate(model, "abc", **settings)
        pieces = stream(model, "abc", **settings)
        assert "".join(pieces) == whole.text
        assert pieces.finish_reason == whole.finish_reasons[0]
        assert pieces.new_tokens == whole.new_tokens[0]
        stop = [whole.text[4:7]] if len(whole.text) > 7 else ["zz"]
        cut = generate(model, "abc", stop=stop, **settings)
        pieces = stream(model, "abc", stop=stop, **settings)
        assert "".join(pieces) == cut.text == whole.text.split(stop[0])[0]
        assert pieces.finish_reason == cut.finish_reasons[0]


def test_a_stream_tells_each_piece_as_soon_as_it_is_there():
    model = TableModel(eos_token_id=[])
    pieces = stream(model, "abc", tokenizer=LetterTokenizer(), max_new_tokens=9)
    assert model.passes == []
    next(pieces)
    assert len(model.passes) == 1
    assert pieces.finish_reason is None


def test_between_two_pieces_the_caller_is_not_in_inference_mode():
    for _ in stream(TableModel(), "abc", tokenizer=LetterTokenizer(), max_new_tokens=3):
        assert not torch.is_inference_mode_enabled()


def test_a_stop_text_given_as_one_string_is_one_stop_text():
    model, tokenizer = TableModel(eos_token_id=[]), LetterTokenizer()
    text = generate(model, "abc", tokenizer=tokenizer, max_new_tokens=9).text
    assert (
        generate(model, "abc", tokenizer=tokenizer, max_new_tokens=9, stop=text[3:6]).text == text.split(text[3:6])[0]
    )


def test_an_error_in_the_middle_of_a_stream_reaches_the_caller():
    class Breaking(TableModel):
        def forward(self, *args: object, **kwargs: object) -> torch.Tensor:
            logits = super().forward(*args, **kwargs)
            return logits * float("nan") if len(self.passes) > 3 else logits

    pieces = stream(Breaking(eos_token_id=[]), "abc", tokenizer=LetterTokenizer(), max_new_tokens=9)
    with pytest.raises(ZooError, match="step 3"):
        list(pieces)


@pytest.mark.parametrize(
    ("prompt", "settings", "message"),
    [
        ([[3], [4]], {}, "a stream continues one prompt, not 2"),
        (
            [3],
            {"config": GenerationConfig(num_beams=2)},
            "num_beams=2: beam search cannot stream, because its text is known only at the end",
        ),
        ([3], {"stop": [""]}, "stop contains an empty text"),
    ],
)
def test_what_a_stream_cannot_do_is_refused(prompt: list, settings: dict, message: str):
    with pytest.raises(UsageError, match=message):
        stream(TableModel(), prompt, tokenizer=LetterTokenizer(), max_new_tokens=3, **settings)
