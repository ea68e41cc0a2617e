"""How tokens are told beside a text: their places in it, and their bytes."""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path

import pytest
from tokenizers import Tokenizer as Backend

from tests.text.tiny import byte_level, sentencepiece_like, texts, write
from zoo.generation.batching import TokenScore
from zoo.serving.interface.choices import Speller, TokenPlaces
from zoo.text import Tokenizer


@pytest.fixture(params=[byte_level, sentencepiece_like])
def tokenizer(request: pytest.FixtureRequest, tmp_path: Path) -> Tokenizer:
    backend: Backend = request.param()
    return Tokenizer.from_folder(write(tmp_path, backend, {"bos_token": "<s>"}))


def scores_of(ids: list[int]) -> list[TokenScore | None]:
    return [TokenScore(token, -1.0, [(token, -1.0)]) for token in ids]


def test_each_token_stands_where_the_text_before_it_ends(tokenizer: Tokenizer):
    """By decoding all before it; a last replacement mark is a character of which a part is missing."""
    for text in texts(40):
        ids = tokenizer.encode(text)
        before = [tokenizer.decode(ids[:n]) for n in range(len(ids))]
        # Where bytes are tokens, a part of a character turns those before it into replacement marks, too.
        known = accumulate((0 if told.endswith("\ufffd") else len(told) for told in before), max)
        places = [max(len(told.rstrip("\ufffd")), least) for told, least in zip(before, known, strict=True)]
        assert Speller(tokenizer).for_text(scores_of(ids), [], TokenPlaces(tokenizer))["text_offset"] == places


def test_a_text_that_goes_on_keeps_the_space_at_its_beginning(tokenizer: Tokenizer):
    before, ids = tokenizer.encode("the"), tokenizer.encode("time of", add_special_tokens=False)
    context = len(tokenizer.decode(before))
    places = [len(tokenizer.decode(before + ids[:n])) - context for n in range(len(ids))]
    assert Speller(tokenizer).for_text(scores_of(ids), [], TokenPlaces(tokenizer, before))["text_offset"] == places


def test_the_bytes_of_a_chats_tokens_are_those_of_its_text(tokenizer: Tokenizer):
    ids = tokenizer.encode("漢 😀🙈 naïve", add_special_tokens=False)
    content = Speller(tokenizer).for_chat(scores_of(ids))["content"]
    assert bytes(byte for one in content for byte in one["bytes"]).decode().strip() == "漢 😀🙈 naïve"
    assert [one["top_logprobs"][0]["bytes"] for one in content] == [one["bytes"] for one in content]


def test_a_word_with_a_space_before_it_and_one_without_are_two(tmp_path: Path):
    """By its tokens a harness tells whether the likeliest one came: those that read alike would be one."""
    tokenizer = Tokenizer.from_folder(write(tmp_path, sentencepiece_like()))
    word, alone = tokenizer.token_to_id("▁t"), tokenizer.token_to_id("t")
    assert word is not None
    assert alone is not None
    score = TokenScore(alone, -2.0, [(word, -0.5), (alone, -2.0)])
    told = Speller(tokenizer).for_text([score], [], TokenPlaces(tokenizer, [word]))
    assert (told["tokens"], told["top_logprobs"]) == (["t"], [{" t": -0.5, "t": -2.0}])
