"""What each key of a GGUF vocabulary means: roles, types, scores and splitting rules, at each limit and beyond."""

from __future__ import annotations

import json
from typing import Any

import pytest

from zoo.errors import CheckpointError
from zoo.text import Tokenizer
from zoo.text.reading import gguf
from zoo.text.tokens import merging
from zoo.text.tokens.splitting import SPLITTINGS


def llama(**changes: Any) -> dict[str, Any]:
    tokens = ["<unk>", "a", "b", "ab", "ba", "aba", "c", "ac", "<0x0A>", "bu", "u", "▁"]
    kinds = [2, 1, 1, 1, 1, 1, 3, 1, 6, 4, 1, 1]  # unknown, normal, control, byte, user defined
    scores = [0, -1, -2, -5.0, -3.0, -4.0, 0, -1.0, 0, -4.0, -9, -9]
    values = {"model": "llama", "tokens": tokens, "token_type": kinds, "scores": scores, "unknown_token_id": 0}
    values |= {"add_bos_token": False, "add_space_prefix": False} | changes
    return {f"tokenizer.ggml.{key}": value for key, value in values.items() if value is not None}


def byte_level(**changes: Any) -> dict[str, Any]:
    values = {"model": "gpt2", "pre": "gpt-2", "tokens": [*"abc", "ab"], "token_type": [1] * 4, "merges": ["a b"]}
    return {f"tokenizer.ggml.{key}": value for key, value in (values | changes).items()}


def test_the_better_scored_token_is_merged_first_and_of_its_cuts_the_longer_left_part() -> None:
    model = json.loads(Tokenizer.from_gguf(llama()).backend.to_str())["model"]
    # `ac` has a control token in it, which no text is merged into
    assert model["merges"] == [["b", "a"], ["ab", "a"], ["a", "ba"], ["b", "u"], ["a", "b"]]
    assert (model["unk_token"], model["fuse_unk"], model["byte_fallback"]) == ("<unk>", True, True)


def test_equal_scores_are_taken_in_the_order_of_their_ids() -> None:
    equal = llama(scores=[0] * 12, tokens=["<unk>", "b", "a", "ab", "ba", "aba", "c", "ac", "<0x0A>", "bu", "u", "▁"])
    merges = json.loads(Tokenizer.from_gguf(equal).backend.to_str())["model"]["merges"]
    assert merges == [["ab", "a"], ["b", "a"], ["b", "u"], ["a", "b"], ["a", "ba"]]


def test_a_space_before_the_text_and_bytes_for_what_has_no_token() -> None:
    plain, spaced = Tokenizer.from_gguf(llama()), Tokenizer.from_gguf(llama(add_space_prefix=None))
    assert (plain.encode("a\n"), spaced.encode("a")) == ([1, 8], [11, 1])
    assert (plain.encode("zz"), plain.encode("a c")) == ([0], [1, 11, 6])
    assert (plain.decode([11, 1, 8]), spaced.decode([11, 1, 8]), spaced.decode([11, 11, 1])) == (" a\n", "a\n", " a")


def test_control_tokens_are_special_and_those_of_a_user_are_not() -> None:
    added = Tokenizer.from_gguf(llama(unknown_token_id=None)).backend.get_added_tokens_decoder()
    assert {i: (t.content, t.special, t.normalized) for i, t in added.items()} == {
        6: ("c", True, False),
        9: ("bu", False, False),
    }


@pytest.mark.parametrize(
    ("key", "role"),
    [
        ("bos_token_id", "bos_token"),
        ("eos_token_id", "eos_token"),
        ("unknown_token_id", "unk_token"),
        ("padding_token_id", "pad_token"),
        ("seperator_token_id", "sep_token"),
        ("mask_token_id", "mask_token"),
    ],
)
def test_every_role_has_its_key(key: str, role: str) -> None:
    for index, token in ((0, "a"), (3, "ab")):
        assert Tokenizer.from_gguf(byte_level(**{key: index})).special_tokens == {role: token}
    for wrong in (-1, 4, "0", 0.0):
        with pytest.raises(CheckpointError, match=f"tokenizer.ggml.{key}: "):
            Tokenizer.from_gguf(byte_level(**{key: wrong}))


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"tokens": [*"abc", "x" * 1025]}, "tokens"),
        ({"tokens": "abcd"}, "tokens"),
        ({"tokens": [*"abc", "ab", "d"], "token_type": [1] * 5}, "tokens"),
        ({"token_type": [1.0] * 4}, "token_type"),
        ({"token_type": [1] * 3}, "token_type"),
        ({"merges": ["a "]}, "merges"),
        ({"merges": [" a"]}, "merges"),
        ({"merges": ["ab"]}, "merges"),
        ({"merges": [5]}, "merges"),
        ({"pre": 5}, "pre"),
        ({"add_bos_token": 1}, "add_bos_token"),
        ({"add_eos_token": None, "add_bos_token": "x"}, "add_bos_token"),
    ],
)
def test_a_fact_that_cannot_be_is_refused_by_its_key(
    changes: dict[str, Any], key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gguf, "MAX_TOKENS", 4)
    Tokenizer.from_gguf(byte_level(tokens=[*"abc", "x" * 1024], merges=[]))
    with pytest.raises(CheckpointError, match=f"x.gguf: tokenizer.ggml.{key}: "):
        Tokenizer.from_gguf(byte_level(**changes), "x.gguf")


def test_tokens_are_cut_into_so_many_parts_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    squares = sum(len(token) ** 2 for token in llama()["tokenizer.ggml.tokens"])
    monkeypatch.setattr(merging, "MAX_CUTS", squares)
    Tokenizer.from_gguf(llama())
    monkeypatch.setattr(merging, "MAX_CUTS", squares - 1)
    with pytest.raises(CheckpointError, match="too long"):
        Tokenizer.from_gguf(llama())


def test_a_chat_template_is_a_text() -> None:
    metadata = byte_level() | {"tokenizer.chat_template.x": "1", "tokenizer.chat_templates": 5, "tokenizer.chat": 5}
    assert Tokenizer.from_gguf(metadata).chat_templates == {"x": "1"}
    with pytest.raises(CheckpointError, match=r"tokenizer.chat_template.y: is not a text"):
        Tokenizer.from_gguf(metadata | {"tokenizer.chat_template.y": 5})


# As the tokenizer.json of each has it (a Digits step, `ignore_merges`, a begin token in its frame, NFC), and as
# llama.cpp takes the rule of that name.
RULES = {
    **dict.fromkeys(("gpt-2", "phi-2", "mpt", "olmo"), (False, False, False, False)),
    **dict.fromkeys(("smollm", "starcoder", "refact", "codeshell"), (True, False, False, False)),
    **dict.fromkeys(("llama-bpe", "llama3", "llama-v3", "tekken"), (False, True, True, False)),
    **dict.fromkeys(("qwen2", "qwen35", "modern-bert"), (False, False, False, True)),
    "gpt-4o": (False, False, False, False),
    "llama4": (False, False, False, False),
}


@pytest.mark.parametrize("name", RULES)
def test_every_rule_does_what_the_released_tokenizer_does(name: str) -> None:
    rule = SPLITTINGS[name]
    assert (rule.single_digits, rule.whole_words, rule.add_bos, rule.is_normalized) == RULES[name]
    tokens = [*"abcdeÃ©Ìģ", "abc", "Ã©", "<s>"]  # é is the bytes Ã©, and its accent alone Ìģ
    made = Tokenizer.from_gguf(
        byte_level(pre=name, tokens=tokens, token_type=[1] * 11 + [3], merges=["Ã ©"], bos_token_id=11)
    )
    begin = [11] if rule.add_bos else []
    assert made.encode("é") == [*begin, 10]
    assert made.encode("e\u0301") == ([*begin, 10] if rule.is_normalized else [*begin, 4, 7, 8])
    # a word that is a token is taken whole, though no merge makes it
    assert made.encode("abc") == ([*begin, 9] if rule.whole_words else [*begin, 0, 1, 2])


DIGITS = {"gpt-2": ["1234"], "smollm": [*"1234"], "llama3": ["123", "4"], "qwen2": [*"1234"], "tekken": [*"1234"]}


@pytest.mark.parametrize("name", [*DIGITS, "gpt-4o"])
def test_digits_are_cut_as_the_rule_says(name: str) -> None:
    pieces = SPLITTINGS[name].pre_tokenizer().pre_tokenize_str("a1234")
    assert [piece for piece, _ in pieces] == ["a", *DIGITS.get(name, ["123", "4"])]


def test_a_token_with_a_role_is_special_whatever_its_type() -> None:
    ours = Tokenizer.from_gguf(byte_level(eos_token_id=3))
    assert (ours.decode([0, 3]), ours.decode([0, 3], skip_special_tokens=False)) == ("a", "aab")
