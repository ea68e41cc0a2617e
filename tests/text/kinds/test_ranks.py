"""Files of tiktoken give tiktoken's ids."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import pytest

from zoo.errors import CheckpointError
from zoo.text import Tokenizer
from zoo.text.kinds.ranks import QWEN_PICTURES, QWEN_SPECIAL
from zoo.text.tokens.splitting import SPLITTINGS

from . import made
from .passages import EVERY


def encoding(rule: str, special: dict[str, int]) -> Any:
    tiktoken = pytest.importorskip("tiktoken", reason="it is the reference")
    pattern = SPLITTINGS[rule].pattern
    return tiktoken.Encoding(rule, pat_str=pattern, mergeable_ranks=made.ranks(), special_tokens=special)


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({}, {0: "<|begin_of_text|>", 4: "<|reserved_special_token_2|>", 9: "<|eot_id|>", 255: "250"}),
        (
            {"use_scaled_rope": True},
            {1: "<|end_of_text|>", 4: "<|finetune_right_pad_id|>", 8: "<|eom_id|>", 255: "247"},
        ),
    ],
)
def test_llama3_in_metas_folder(tmp_path: Path, params: dict, named: dict[int, str]):
    # The names are those of tokenizer.json in the releases of Llama 3 and 3.1; both have 256 of them.
    made.write_ranks(tmp_path / "tokenizer.model")
    ours, count = Tokenizer.from_folder(made.write(tmp_path, params=params)), len(made.ranks())
    theirs = encoding("llama3", {"<|begin_of_text|>": count, "<|eot_id|>": count + 9})
    for text in (*EVERY, "a<|eot_id|>b"):
        assert ours.encode(text) == [count, *theirs.encode(text, allowed_special="all")], text
        assert ours.decode(ours.encode(text)) == text.replace("<|eot_id|>", "")
    for offset, name in named.items():
        full = f"<|reserved_special_token_{name}|>" if name.isdigit() else name
        assert ours.token_to_id(full) == count + offset, full
    assert ours.vocab_size == count + 256
    assert (ours.bos_token_id, ours.eos_token_id) == (count, count + 1)


@pytest.mark.parametrize("sees", [True, False])
def test_qwen(tmp_path: Path, sees: bool):
    made.write_ranks(tmp_path / "qwen.tiktoken")
    made.write(tmp_path, config={"model_type": "qwen"} | ({"visual": {}} if sees else {}))
    ours, names = Tokenizer.from_folder(tmp_path), [*QWEN_SPECIAL, *(QWEN_PICTURES if sees else ())]
    special = {token: len(made.ranks()) + i for i, token in enumerate(names)}
    theirs = encoding("qwen2", special)
    for text in (*EVERY, "<img>x</img><|extra_204|>"):
        expected = theirs.encode(unicodedata.normalize("NFC", text), allowed_special="all")
        assert ours.encode(text) == expected, text
    assert ours.vocab_size == theirs.n_vocab


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data + b"%%% 9\n", "is not a token in base64"),
        (lambda data: data + data.splitlines()[3] + b"\n", "stands there twice"),
        (lambda data: data.replace(b" 7\n", b" 99999999\n"), "line 8: .* is not a token"),
        (lambda data: data.replace(b" 7\n", b" 70000\n"), "ranks that do not count from 0 on"),
        (lambda data: b"".join(data.splitlines(keepends=True)[:100]), "no token for the byte"),
        (lambda data: b"YQ==", "is not a SentencePiece model"),
    ],
)
def test_a_broken_file_is_told_with_its_line(tmp_path: Path, change: Any, message: str):
    file = tmp_path / "tokenizer.model"
    made.write_ranks(file)
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(CheckpointError, match=message):
        Tokenizer.from_folder(tmp_path)
