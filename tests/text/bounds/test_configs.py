"""What the files beside a tokenizer may say, and what becomes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from zoo.errors import CheckpointError, UsageError
from zoo.text.bounds.vocabulary import check_model
from zoo.text.files import read_text
from zoo.text.tokenizer import Tokenizer


def test_a_text_file_has_a_size_and_a_coding(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes("é".encode() * 5)
    assert read_text(tmp_path / "x", 10) == "é" * 5
    with pytest.raises(CheckpointError, match="10 bytes, more than the 9"):
        read_text(tmp_path / "x", 9)
    (tmp_path / "x").write_bytes(b"ab\xff")
    with pytest.raises(CheckpointError, match="byte 2"):
        read_text(tmp_path / "x", 9)


def folder(path: Path, **config: Any) -> Path:
    model = {"type": "WordLevel", "vocab": {"a": 0, "b": 1, "<s>": 2}, "unk_token": "a"}
    (path / "tokenizer.json").write_text(json.dumps({"version": "1.0", "model": model}))
    (path / "tokenizer_config.json").write_text(json.dumps(config))
    return path


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"bos_token": 5}, "bos_token: 5 is not a token"),
        ({"bos_token": ""}, "bos_token: '' is not a token"),
        ({"bos_token": {"content": ""}}, "bos_token: "),
        ({"bos_token": "<z>"}, "bos_token: '<z>' is not in the vocabulary"),
        ({"added_tokens_decoder": [1]}, "added_tokens_decoder: "),
        ({"added_tokens_decoder": {"01": {"content": "<z>"}}}, "added_tokens_decoder.01: "),
        ({"added_tokens_decoder": {"12345678": {"content": "<z>"}}}, "added_tokens_decoder.12345678: "),
        ({"added_tokens_decoder": {"3": {"content": ""}}}, "added_tokens_decoder.3: "),
        ({"added_tokens_decoder": {"3": 5}}, "added_tokens_decoder.3: "),
        ({"added_tokens_decoder": {"4": "<z>"}}, "added_tokens_decoder.4: "),
        ({"extra_special_tokens": "a"}, "extra_special_tokens: "),
        ({"extra_special_tokens": ["<z>"]}, "extra_special_tokens: '<z>' is not in the vocabulary"),
        ({"additional_special_tokens": [""]}, "additional_special_tokens: '' is not a token"),
        ({"additional_special_tokens": [5]}, "additional_special_tokens: 5 is not a token"),
        ({"tokenizer_class": "LlamaTokenizer", "add_bos_token": True}, "add_bos_token: is true"),
        ({"chat_template": 5}, "chat_template: "),
        ({"chat_template": ["a"]}, "chat_template: "),
        ({"chat_template": [{"name": "a"}]}, "chat_template: "),
        ({"chat_template": [{"name": "a", "template": 5}]}, "chat_template: "),
        ({"chat_template": [{"name": 5, "template": "a"}]}, "chat_template: "),
    ],
)
def test_a_config_that_says_what_cannot_be_is_refused_by_its_key(tmp_path: Path, config: Any, told: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        Tokenizer.from_folder(folder(tmp_path, **config))
    assert f"tokenizer_config.json: {told}" in str(caught.value)


def test_what_a_config_adds_is_there_with_its_flags(tmp_path: Path) -> None:
    decoder = {"3": {"content": "<z>", "special": True, "lstrip": True}, "4": "<y>"}
    extra = {"extra_special_tokens": {"image": "b"}, "additional_special_tokens": [{"content": "a"}]}
    ours = Tokenizer.from_folder(
        folder(tmp_path, added_tokens_decoder=decoder, bos_token={"content": "<s>"}, eos_token=None, **extra)
    )
    added = ours.backend.get_added_tokens_decoder()
    assert {i: (t.content, t.special, t.lstrip, t.rstrip) for i, t in added.items()} == {
        0: ("a", True, False, False),
        1: ("b", True, False, False),
        2: ("<s>", True, False, False),
        3: ("<z>", True, True, False),
        4: ("<y>", False, False, False),
    }
    assert ours.encode("b  <z><y>") == [1, 3, 4]
    assert ours.special_tokens == {"bos_token": "<s>"}
    assert (ours.vocab_size, ours.bos_token_id, ours.eos_token_id) == (5, 2, None)
    assert [ours.id_to_token(i) for i in (-1, 0, 4, 5)] == [None, "a", "<y>", None]
    assert ours.decode([3, 1, 4]) == "<y>"
    assert ours.decode([3, 1, 4], skip_special_tokens=False) == "<z> b <y>"


def test_special_tokens_may_be_read_as_text(tmp_path: Path) -> None:
    for split, ids in ((False, [0, 2]), (True, [0])):  # an unknown word is `a`
        ours = Tokenizer.from_folder(folder(tmp_path, bos_token="<s>", split_special_tokens=split))
        assert ours.encode("a<s>") == ids


@pytest.mark.parametrize("wrong", [-1, 1 << 32])
def test_no_id_is_below_0_or_beyond_32_bits(tmp_path: Path, wrong: int) -> None:
    ours = Tokenizer.from_folder(folder(tmp_path))
    assert ours.decode([0, (1 << 32) - 1]) == "a"
    with pytest.raises(UsageError, match=str(wrong)):
        ours.decode([0, wrong])


def test_a_chat_template_is_told_by_name_and_given_the_special_tokens(tmp_path: Path) -> None:
    named = [{"name": "default", "template": "{{ bos_token }}{{ x }}{{ messages|length }}{{ add_generation_prompt }}"}]
    named += [{"name": "tools", "template": "{{ tools }}{{ documents }}<s>"}]
    ours = Tokenizer.from_folder(folder(tmp_path, chat_template=named, bos_token="<s>"))
    said = [{"role": "user", "content": "x"}]
    assert ours.render_chat(said, variables={"x": "y"}) == "<s>y1True"
    assert ours.render_chat(said, add_generation_prompt=False, variables={"bos_token": "z"}) == "z1False"
    assert ours.render_chat(said, template="tools", tools=[{"a": 1}]) == "[{'a': 1}]None<s>"
    assert ours.encode_chat(said, template="tools")[-1] == 2
    with pytest.raises(UsageError, match=r"'other'.* default, tools"):
        ours.render_chat(said, template="other")
    (tmp_path / "chat_template.jinja").write_text("{{ 1 }}")
    assert Tokenizer.from_folder(tmp_path).render_chat(said) == "1"


def test_a_model_that_is_no_dict_is_refused_before_the_library_sees_it() -> None:
    with pytest.raises(CheckpointError, match="x: model: "):
        check_model(None, "x")
