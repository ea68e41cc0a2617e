"""Texts of a form: whatever a random model would rather say, and however few tokens are left, they match."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import torch

import zoo
from zoo.errors import MissingExtra, UsageError, ZooError
from zoo.generation import GenerationConfig, generate, stream
from zoo.text import Tokenizer

from ..some import some
from .models import LetterTokenizer, TableModel

pytest.importorskip("llguidance", reason="the extra form is not installed")

PATTERNS = [
    "(yes|no|maybe)", r"\d{3}-\d{4}", "[a-z]+", "[A-Z][a-z]{2,10}", r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}", "a*", "(ab){5}",
    '"[^"]*"', r"[a-z ]+\.", "(Alice|Bob) (likes|hates) (cats|dogs)", "#[0-9a-f]{6}", r"-?\d+(\.\d+)?",
    r"[\w.]+@[\w.]+\.(com|org)", r"\((\d+, )*\d+\)", "x|y{40}", "今天(天气)?很好。", "[é-ü]{3}",
    "(Mr|Mrs)\\. [A-Z][a-z]+", r"\s?(the|a) [a-z]{3,5}( and (the|a) [a-z]{3,5}){0,3}", r"<b>[^<>]{0,20}</b>",
]  # fmt: skip
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string"}, "age": {"type": "integer", "minimum": 3, "maximum": 120},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 1},
        "is": {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
    },
    "required": ["name", "age", "tags", "is"],
    "additionalProperties": False,
}  # fmt: skip

SHORTER: dict[str, Any] = {  # for many texts at once: the way to the end of a text is searched for each
    **SCHEMA,
    "properties": {name: SCHEMA["properties"][name] for name in ("name", "tags")},
    "required": ["name", "tags"],
}


@pytest.fixture(scope="module")
def model() -> Any:
    """Random weights, and what they say is all but uniform."""
    return zoo.build("tiny", device="cpu", seed=3).eval()


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return zoo.load("tiny").tokenizer


def said(model: Any, tokenizer: Tokenizer, **settings: Any) -> list[str]:
    found = generate(model, "One day", tokenizer=tokenizer, eos_token_id=2, **settings)
    return found.texts or []


@pytest.mark.parametrize("pattern", some(PATTERNS, "(yes|no|maybe)", r"\d{3}-\d{4}", "x|y{40}"))
def test_a_text_matches_the_pattern_as_a_whole(model: Any, tokenizer: Tokenizer, pattern: str) -> None:
    (greedy,) = said(model, tokenizer, regex=pattern, max_new_tokens=48)
    drawn = said(model, tokenizer, regex=pattern, max_new_tokens=48, temperature=1.0, seed=1, num_return_sequences=2)
    for text in (greedy, *drawn):
        assert re.fullmatch(pattern, text), text


@pytest.mark.parametrize(
    ("pattern", "least"),
    [
        ('"[^"]*"', 2), ("x|y{40}", 1), pytest.param(r"\d{3}-\d{4}", 8, marks=pytest.mark.slow),
        pytest.param(r"<b>[^<>]{0,20}</b>", 7, marks=pytest.mark.slow), ("[a-z ]*\\.", 1),
    ],
)  # fmt: skip
def test_the_fewest_tokens_that_can_hold_it_are_enough(
    model: Any, tokenizer: Tokenizer, pattern: str, least: int
) -> None:
    for limit in (least, least + 1, least + 5):
        texts = said(model, tokenizer, regex=pattern, max_new_tokens=limit, temperature=1.0, seed=limit)
        assert all(re.fullmatch(pattern, text) for text in texts)


def test_too_few_tokens_are_an_error_that_says_so(model: Any, tokenizer: Tokenizer) -> None:
    with pytest.raises(ZooError, match="regex: 4 tokens were not enough for a text of this form"):
        said(model, tokenizer, regex=r"\d{30}", max_new_tokens=4)
    pieces = stream(model, "One day", tokenizer=tokenizer, eos_token_id=2, regex=r"\d{30}", max_new_tokens=4)
    with pytest.raises(ZooError, match="4 tokens were not enough"):
        list(pieces)


@pytest.mark.slow
def test_a_draft_is_held_to_the_form_and_changes_no_text(model: Any, tokenizer: Tokenizer) -> None:
    plain = said(model, tokenizer, json_schema=SHORTER, max_new_tokens=28)
    for draft in ("ngram", zoo.load("tiny"), model):
        assert said(model, tokenizer, json_schema=SHORTER, max_new_tokens=28, draft=draft) == plain


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [{}, {"temperature": 1.5, "seed": 5}, {"repetition_penalty": 1.5, "forced_eos_token_id": 2}],
    ids=str,
)  # fmt: skip
def test_json_is_of_its_schema(model: Any, tokenizer: Tokenizer, settings: dict[str, Any]) -> None:
    for text in said(model, tokenizer, json_schema=SCHEMA, max_new_tokens=45, **settings):
        found = json.loads(text)
        assert found.keys() == {"name", "age", "tags", "is"}
        assert type(found["age"]) is int
        assert 3 <= found["age"] <= 120
        assert found["is"] in (True, False, None)
        check(found)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [{"num_beams": 3}, {"num_beams": 4, "temperature": 1.0, "seed": 2},
     {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 2.0, "num_return_sequences": 2},
     {"draft": "ngram", "temperature": 1.5, "seed": 5}],
    ids=str,
)  # fmt: skip
def test_json_of_beams_and_of_drafts_is_of_its_schema(
    model: Any, tokenizer: Tokenizer, settings: dict[str, Any]
) -> None:
    for text in said(model, tokenizer, json_schema=SHORTER, max_new_tokens=28, **settings):
        found = json.loads(text)
        assert found.keys() == {"name", "tags"}
        check(found)


def check(found: dict[str, Any]) -> None:
    """What both schemas ask."""
    assert isinstance(found["name"], str)
    assert found["tags"]
    assert {*found["tags"]} <= {"a", "b"}


def test_rows_hold_to_the_form_each_by_itself(model: Any, tokenizer: Tokenizer) -> None:
    settings: dict[str, Any] = {"regex": "[a-z]{2,9}!", "max_new_tokens": 12, "temperature": 1.0, "eos_token_id": 2}
    prompts = ["One day", "She had been very ill, and", "No"]
    batch = generate(model, prompts, tokenizer=tokenizer, seed=3, **settings)
    assert all(re.fullmatch("[a-z]{2,9}!", text) for text in batch.texts or [])
    assert generate(model, prompts[0], tokenizer=tokenizer, seed=3, **settings).text == (batch.texts or [])[0]
    pieces = stream(model, prompts[0], tokenizer=tokenizer, seed=3, **settings)
    assert "".join(pieces) == (batch.texts or [])[0]


def test_a_tokenizer_without_tokenizer_json_is_spelt_by_what_it_decodes() -> None:
    """The letters' tokens stand for themselves; id 2 ends a text."""
    for seed in range(5):
        found = generate(
            TableModel(seed=seed), "abc", tokenizer=LetterTokenizer(), regex="(ab|ba)+c?", max_new_tokens=9,
            temperature=1.0, seed=seed,
        )  # fmt: skip
        assert re.fullmatch("(ab|ba)+c?", found.text)


def test_the_likeliest_text_of_the_form_is_found() -> None:
    """Of two words greedy decoding takes the one whose first letter the model likes more."""
    model, tokenizer = TableModel(), LetterTokenizer()
    logits = model(torch.tensor([tokenizer.encode("abc")]))[0, -1]
    first = max("adg", key=lambda letter: logits[tokenizer.encode(letter)[0]].item())
    found = generate(model, "abc", tokenizer=tokenizer, regex="(abc|def|ghi)", max_new_tokens=9)
    assert found.text == {"a": "abc", "d": "def", "g": "ghi"}[first]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"regex": "(a"}, "regex cannot be held to\n.*unclosed group"),
        ({"regex": r"\bword"}, "regex cannot be held to\n.*"),
        ({"json_schema": {"type": "objet"}}, "json_schema cannot be held to\nInvalid type: objet"),
        ({"json_schema": {"type": "array", "uniqueItems": True}}, "Unimplemented keys.*uniqueItems"),
        ({"json_schema": "{"}, "json_schema is not JSON"),
        ({"regex": "a", "json_schema": {}}, "do not go together"),
        ({"regex": "a", "stop": ["b"]}, "stop cannot be used with regex"),
        ({"regex": "a", "eos_token_id": []}, "regex needs an end token"),
    ],
)
def test_what_cannot_be_held_to_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=f"(?s){message}"):
        generate(TableModel(), "abc", tokenizer=LetterTokenizer(), max_new_tokens=5, **settings)


def test_a_form_needs_a_tokenizer_and_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="regex is about text and needs a tokenizer"):
        generate(TableModel(), [3], config=GenerationConfig(regex="a"))
    monkeypatch.setattr("zoo.generation.form.processor.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"regex needs the package llguidance\npip install 'zoo-lm\[form\]'"):
        generate(TableModel(), "abc", tokenizer=LetterTokenizer(), regex="a")
