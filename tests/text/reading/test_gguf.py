"""Tokenizers rebuilt from GGUF metadata give the ids of the tokenizers that the metadata was made from."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer as Backend
from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence

from zoo.errors import CheckpointError
from zoo.text import Tokenizer
from zoo.text.tokens.splitting import SPLITTINGS

from ..tiny import CORPUS, byte_level, texts


def metadata_of(backend: Backend, **changes: Any) -> dict[str, Any]:
    model = json.loads(backend.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    values = {
        "model": "gpt2",
        "pre": "smollm",
        "tokens": tokens,
        "token_type": [3 if token in ("<s>", "<|end|>") else 1 for token in tokens],
        "merges": [" ".join(pair) for pair in model["merges"]],
        "bos_token_id": 0,
        "eos_token_id": 1,
    }
    return {f"tokenizer.ggml.{key}": value for key, value in (values | changes).items() if value is not None}


def test_a_byte_level_vocabulary_gives_the_ids_it_was_made_from():
    backend = byte_level()
    ours = Tokenizer.from_gguf(metadata_of(backend))
    for text in texts():
        assert ours.encode(text) == backend.encode(text).ids
        assert ours.decode(ours.encode(text), skip_special_tokens=False) == text
    assert (ours.bos_token_id, ours.eos_token_id, ours.vocab_size) == (0, 1, backend.get_vocab_size())


def test_arrays_are_read_like_lists():
    kinds = np.array(metadata_of(byte_level())["tokenizer.ggml.token_type"], dtype=np.int32)
    assert Tokenizer.from_gguf(metadata_of(byte_level(), token_type=kinds)).encode("<s>") == [0]


@pytest.mark.parametrize(("pre", "digits"), [("smollm", ["1", "2"]), ("gpt-2", ["12"]), ("llama-bpe", ["12"])])
def test_the_rule_that_the_file_names_splits_the_text(pre: str, digits: list[str]):
    words = [word for word, _ in SPLITTINGS[pre].pre_tokenizer().pre_tokenize_str("a12")]
    assert words == ["a", *digits]


def test_rules_split_as_the_tokenizers_they_were_taken_from():
    known = Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=False)])
    for text in texts(40):
        assert SPLITTINGS["smollm"].pre_tokenizer().pre_tokenize_str(text) == known.pre_tokenize_str(text)
    for rule in SPLITTINGS.values():
        pieces = rule.pre_tokenizer().pre_tokenize_str("don't  see 12345\n\n é漢字 x_y ")
        assert ByteLevel.alphabet() is not None
        assert sum(end - start for _, (start, end) in pieces) == len("don't  see 12345\n\n é漢字 x_y ")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({}, []),
        ({"add_bos_token": True}, [0]),
        ({"add_bos_token": True, "add_eos_token": True}, [0, 1]),
        ({"pre": "llama-bpe"}, [0]),  # as llama.cpp takes it where the file does not say
        ({"pre": "llama-bpe", "add_bos_token": False}, []),
    ],
)
def test_begin_and_end_tokens_are_added_as_the_file_says(flags: dict, expected: list[int]):
    assert Tokenizer.from_gguf(metadata_of(byte_level(), **flags)).encode("") == expected


@pytest.mark.parametrize("prefix", [True, False])
def test_a_sentencepiece_vocabulary_gives_the_ids_of_sentencepiece(prefix: bool):
    sentencepiece = pytest.importorskip("sentencepiece", reason="ids are compared with sentencepiece's")
    file = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS), model_writer=file, model_type="bpe", vocab_size=370, byte_fallback=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False, add_dummy_prefix=prefix,
        minloglevel=2,
    )  # fmt: skip
    spm = sentencepiece.SentencePieceProcessor(model_proto=file.getvalue())
    count = spm.get_piece_size()
    kinds = [2 if spm.is_unknown(i) else 3 if spm.is_control(i) else 6 if spm.is_byte(i) else 1 for i in range(count)]
    values = {
        "model": "llama", "tokens": [spm.id_to_piece(i) for i in range(count)], "add_space_prefix": prefix,
        "scores": [spm.get_score(i) for i in range(count)], "token_type": kinds,
        "bos_token_id": spm.bos_id(), "eos_token_id": spm.eos_id(), "unknown_token_id": spm.unk_id(),
    }  # fmt: skip
    ours = Tokenizer.from_gguf({f"tokenizer.ggml.{key}": value for key, value in values.items()})
    for text in texts():
        if "<s>" in text or "</s>" in text:
            continue  # to sentencepiece these are letters
        ids = spm.encode(text)
        assert ours.encode(text) == [spm.bos_id(), *ids], text
        assert ours.decode(ids) == spm.decode(ids), text


@pytest.mark.slow
def test_fifty_thousand_special_tokens_are_added_at_once():
    tokens = [*"abcdefgh", *(f"<|{i}|>" for i in range(50_000))]
    values = {"tokens": tokens, "token_type": [1] * 8 + [3] * 50_000, "merges": [], "pre": "smollm", "model": "gpt2"}
    begin = time.process_time()
    ours = Tokenizer.from_gguf({f"tokenizer.ggml.{key}": value for key, value in values.items()})
    assert ours.encode("a<|49999|>") == [0, 50_007]
    assert time.process_time() - begin < 2  # measured: 0.4; one by one it took over a minute


def test_tokens_too_long_to_be_cut_are_refused():
    values = {"model": "llama", "tokens": [f"{i:05}" + "a" * 1000 for i in range(500)], "token_type": [1] * 500}
    values |= {"scores": [0.0] * 500}
    with pytest.raises(CheckpointError, match="are too long: zoo cannot search for the pairs"):
        Tokenizer.from_gguf({f"tokenizer.ggml.{key}": value for key, value in values.items()})


def test_chat_templates_come_along():
    metadata = metadata_of(byte_level())
    metadata |= {"tokenizer.chat_template": "{{ eos_token }}", "tokenizer.chat_template.tool_use": "tools"}
    ours = Tokenizer.from_gguf(metadata)
    assert ours.render_chat([{"role": "user", "content": "hi"}]) == "<|end|>"
    assert ours.render_chat([{"role": "user", "content": "hi"}], template="tool_use") == "tools"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "bert"}, "tokenizer.ggml.model: zoo rebuilds gpt2 and llama, not 'bert'"),
        ({"model": None}, "tokenizer.ggml.model: is missing"),
        ({"pre": "unheard-of"}, "tokenizer.ggml.pre: 'unheard-of' is not a splitting rule that zoo knows"),
        ({"pre": None}, "tokenizer.ggml.pre: is missing"),
        ({"tokens": None}, "tokenizer.ggml.tokens: is missing"),
        ({"tokens": ["a", "a"]}, "tokenizer.ggml.tokens: contains 'a' twice"),
        ({"tokens": ["a", 5]}, "tokenizer.ggml.tokens: is not a list of"),
        ({"tokens": ["a" * 2000]}, "more than 1024 characters"),
        ({"token_type": [1]}, "tokenizer.ggml.token_type: has 1 entries for 348 tokens"),
        ({"merges": ["a b c"]}, "tokenizer.ggml.merges: 'a b c' is not two tokens"),
        ({"merges": ["zz qq"]}, "tokenizer.ggml.merges: do not fit the tokens"),
        ({"bos_token_id": 348}, "tokenizer.ggml.bos_token_id: 348 is not one of 348 tokens"),
        ({"add_bos_token": "yes"}, "tokenizer.ggml.add_bos_token: 'yes' is not true or false"),
        ({"model": "llama"}, "tokenizer.ggml.scores: is missing"),
        ({"model": "llama", "scores": [float("nan")] * 348}, "tokenizer.ggml.scores: holds NaN"),
    ],
)
def test_metadata_that_cannot_be_is_an_error_that_names_the_key(changes: dict, message: str):
    with pytest.raises(CheckpointError, match=message):
        Tokenizer.from_gguf(metadata_of(byte_level(), **changes), file="model.gguf")


def test_gemma_is_refused_for_its_scores_are_not_its_merges():
    with pytest.raises(CheckpointError, match="Gemma cannot be rebuilt"):
        Tokenizer.from_gguf(metadata_of(byte_level(), model="llama") | {"general.architecture": "gemma2"})


def test_what_a_file_carries_becomes_the_files_of_a_folder(tmp_path: Path):
    from zoo.text.export import gguf_files

    more = {"tokenizer.chat_template": "{{ bos_token }}hi", "tokenizer.ggml.eot_token_id": 5}
    more |= {"general.sampling.temp": np.float32(0.6).item(), "general.sampling.top_k": 20}
    metadata = metadata_of(byte_level(), add_bos_token=True) | more
    files = gguf_files(metadata, "x.gguf")
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    ours, theirs = Tokenizer.from_folder(tmp_path), Tokenizer.from_gguf(metadata)
    for text in texts(20):
        assert ours.encode(text) == theirs.encode(text)
    assert ours.special_tokens == theirs.special_tokens
    assert ours.render_chat([{"role": "user", "content": "a"}]) == "<s>hi"
    settings = json.loads(files["generation_config.json"])
    assert settings == {
        "bos_token_id": 0, "eos_token_id": [1, 5], "do_sample": True, "temperature": 0.6, "top_k": 20,
    }  # fmt: skip
