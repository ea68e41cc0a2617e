"""SentencePiece's files give the ids that sentencepiece gives, and those of transformers around special tokens."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from zoo.text import Tokenizer

from . import made
from .passages import EVERY, PASSAGES


def llama(folder: Path, options: dict[str, Any] = made.LLAMA, **config: Any) -> tuple[Tokenizer, Any]:
    data = made.sentencepiece_model(**options)
    (folder / "tokenizer.model").write_bytes(data)
    made.write(folder, tokenizer_config=config)
    return Tokenizer.from_folder(folder), made.processor(data)


def around_special(text: str, special: list[str], encode: Any) -> list[int]:
    """What stands between special tokens, each part encoded by itself; `encode` is told which part is the first."""
    pattern = "|".join(map(re.escape, special))
    ids: list[int] = []
    end = 0
    for found in [*re.finditer(pattern, text), None]:
        part = text[end : found.start() if found else len(text)]
        ids += encode(part, end == 0) if part else []
        if found:
            ids.append(special.index(found[0]))
            end = found.end()
    return ids


def test_llama_equals_sentencepiece_with_the_begin_token(tmp_path: Path):
    ours, theirs = llama(tmp_path, legacy=True)
    special = ["<unk>", "<s>", "</s>"]
    for text in EVERY:
        expected = around_special(text, special, lambda part, _: theirs.encode(part))
        assert ours.encode(text) == [1, *expected], text
        assert ours.decode(theirs.encode(text)) == theirs.decode(theirs.encode(text)), text
    assert ours.kind == "SentencePiece BPE (tokenizer.model)"
    assert (ours.bos_token_id, ours.eos_token_id) == (1, 2)


def test_without_legacy_only_the_first_part_has_a_space_before_it(tmp_path: Path):
    ours, theirs = llama(tmp_path)
    slash = theirs.encode("/")[1:]  # in front of a part, to be taken away with the space that is put before it

    def part(text: str, is_first: bool) -> list[int]:
        return theirs.encode(text) if is_first else theirs.encode("/" + text)[1 + len(slash) :]

    for text in EVERY:
        assert ours.encode(text) == [1, *around_special(text, ["<unk>", "<s>", "</s>"], part)], text


@pytest.mark.slow  # imports transformers
@pytest.mark.parametrize("legacy", [True, False])
def test_llama_equals_transformers_where_a_text_does_not_begin_with_a_space(tmp_path: Path, legacy: bool):
    # Before a part that begins with a space transformers 5 puts none, sentencepiece one more; zoo follows the latter.
    tokens = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    config = tokens | {"tokenizer_class": "LlamaTokenizer", "legacy": legacy, "add_bos_token": True}
    ours, _ = llama(tmp_path, **config)
    theirs = made.theirs("LlamaTokenizer", tmp_path)
    for text in (text for text in PASSAGES if text and text[0] not in " ▁" and "> " not in text):
        assert ours.encode(text) == theirs.encode(text), text
        assert ours.decode(ours.encode(text)) == theirs.decode(theirs.encode(text), skip_special_tokens=True)


def test_gemma_puts_no_space_before_and_takes_runs_of_spaces_whole(tmp_path: Path):
    ours, theirs = llama(tmp_path, made.GEMMA, tokenizer_class="GemmaTokenizer")
    special = ["<pad>", "<eos>", "<bos>", "<unk>"]
    for text in EVERY:
        assert ours.encode(text) == [2, *around_special(text, special, lambda part, _: theirs.encode(part))], text
    assert ours.encode("a<start_of_turn>b")[2] == theirs.piece_to_id("<start_of_turn>")


@pytest.mark.parametrize(
    ("config", "ends"),
    [({}, (1, None)), ({"add_bos_token": False}, (None, None)), ({"add_eos_token": True}, (1, 2))],
)
def test_switches_for_the_begin_and_end_token_are_followed(tmp_path: Path, config: dict, ends: tuple):
    ours, theirs = llama(tmp_path, **config)
    expected = [ends[0]] * (ends[0] is not None) + theirs.encode("the time") + [ends[1]] * (ends[1] is not None)
    assert ours.encode("the time") == expected


def test_t5_has_its_sentinels_behind_the_pieces(tmp_path: Path):
    data = made.sentencepiece_model(**made.T5)
    (tmp_path / "spiece.model").write_bytes(data)
    ours, theirs = Tokenizer.from_folder(tmp_path), made.processor(data)
    special = ["<pad>", "</s>", "<unk>"]
    for text in EVERY:
        assert ours.encode(text) == [*around_special(text, special, lambda part, _: theirs.encode(part)), 1], text
    count = theirs.get_piece_size()
    assert [ours.token_to_id(f"<extra_id_{i}>") for i in (0, 99)] == [count + 99, count]
    assert ours.vocab_size == count + 100


def test_mt5_has_no_sentinels_where_its_config_says_so(tmp_path: Path):
    data = made.sentencepiece_model(**made.T5)
    (tmp_path / "spiece.model").write_bytes(data)
    made.write(tmp_path, tokenizer_config={"extra_ids": 0}, config={"model_type": "mt5"})
    assert Tokenizer.from_folder(tmp_path).vocab_size == made.processor(data).get_piece_size()


def test_xlm_roberta_counts_one_more_than_its_pieces(tmp_path: Path):
    data = made.sentencepiece_model(**made.NFKC)
    (tmp_path / "sentencepiece.bpe.model").write_bytes(data)
    ours, theirs = Tokenizer.from_folder(tmp_path), made.processor(data)
    for text in (text for text in EVERY if "<" not in text):
        assert ours.encode(text) == [0, *(index + 1 if index else 3 for index in theirs.encode(text)), 2], text
    assert ours.encode("<mask>", add_special_tokens=False) == [theirs.get_piece_size() + 1]


@pytest.mark.slow  # imports transformers
@pytest.mark.parametrize(
    ("name", "file", "options"),
    [("T5Tokenizer", "spiece.model", made.T5), ("XLMRobertaTokenizer", "sentencepiece.bpe.model", made.NFKC)],
)
def test_unigrams_equal_transformers(tmp_path: Path, name: str, file: str, options: dict):
    (tmp_path / file).write_bytes(made.sentencepiece_model(**options))
    made.write(tmp_path, tokenizer_config={"tokenizer_class": name})
    ours, theirs = Tokenizer.from_folder(tmp_path), made.theirs(name, tmp_path)
    for text in (*EVERY, "a <extra_id_0> b<extra_id_99>", "<mask>"):
        assert ours.encode(text) == theirs.encode(text), text
        assert ours.decode(ours.encode(text)) == theirs.decode(theirs.encode(text), skip_special_tokens=True), text
    assert ours.vocab_size == len(theirs)


def test_added_tokens_stand_in_any_of_three_files(tmp_path: Path):
    ours, _ = llama(tmp_path)
    count = ours.vocab_size
    made.write(tmp_path, added_tokens={"<tool>": count, "[PAD]": count + 1}, special_tokens_map={"pad_token": "[PAD]"})
    flags = {"lstrip": False, "rstrip": True, "normalized": False, "special": True}
    decoder = {str(count + 2): {"content": "<end>", **flags}}
    made.write(tmp_path, added_tokens={"<tool>": count, "[PAD]": count + 1})
    first = Tokenizer.from_folder(tmp_path)
    assert first.encode("a<tool>[PAD]b")[2:4] == [count, count + 1]
    decoder = {str(count + i): {"content": t, **flags} for i, t in enumerate(("<tool>", "[PAD]", "<end>"))}
    made.write(tmp_path, tokenizer_config={"added_tokens_decoder": decoder})
    second = Tokenizer.from_folder(tmp_path)
    assert second.encode("a<tool> [PAD]<end>  b")[2:5] == [count, count + 1, count + 2]
    assert second.special_tokens["pad_token"] == "[PAD]"
