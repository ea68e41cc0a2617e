"""vocab.txt, and vocab.json with merges.txt, give the ids of transformers' classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from zoo.errors import CheckpointError
from zoo.text import Tokenizer

from . import made
from .passages import EVERY

END = "<|endoftext|>"
ROBERTA = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")


def bert(folder: Path, **config: Any) -> Path:
    (folder / "vocab.txt").write_text(made.word_pieces())
    return made.write(folder, tokenizer_config={"tokenizer_class": "BertTokenizer", **config})


def assert_same(name: str, folder: Path) -> None:
    ours, theirs = Tokenizer.from_folder(folder), made.theirs(name, folder)
    for text in EVERY:
        ids = ours.encode(text)
        assert ids == theirs.encode(text), text
        assert ours.encode(text, add_special_tokens=False) == theirs.encode(text, add_special_tokens=False), text
        told = ours.decode(ids).strip() if name == "CLIPTokenizer" else ours.decode(ids)  # it strips; a stream cannot
        assert told == theirs.decode(ids, skip_special_tokens=True), text
    assert ours.vocab_size == len(theirs)


@pytest.mark.slow  # imports transformers
@pytest.mark.parametrize(
    "config",
    [
        {},
        {"do_lower_case": False},
        {"do_lower_case": False, "strip_accents": True},
        {"strip_accents": False},
        {"tokenize_chinese_chars": False},
    ],
)
def test_word_pieces_equal_transformers(tmp_path: Path, config: dict):
    assert_same("BertTokenizer", bert(tmp_path, **config))


@pytest.mark.slow  # imports transformers
@pytest.mark.parametrize(
    ("name", "special", "config"),
    [
        ("GPT2Tokenizer", (END,), {}),
        ("GPT2Tokenizer", (END,), {"add_bos_token": True, "add_prefix_space": True}),
        ("RobertaTokenizer", ROBERTA, {}),
        ("Qwen2Tokenizer", (END,), {}),
    ],
)
def test_byte_pairs_equal_transformers(tmp_path: Path, name: str, special: tuple[str, ...], config: dict):
    config = config | {"tokenizer_class": name}
    folder = made.write_pairs(
        tmp_path, special, tokenizer_config=config, added_tokens={"<|im_start|>": 400 + len(special)}
    )
    assert_same(name, folder)


def test_a_mask_takes_the_space_before_it_along_where_a_file_says_so(tmp_path: Path):
    # As the released RoBERTa has it; ids are those of RobertaTokenizer of transformers 5.23 for these files.
    mask = {"content": "<mask>", "lstrip": True, "rstrip": False, "normalized": False, "single_word": False}
    config = {"tokenizer_class": "RobertaTokenizer"}
    folder = made.write_pairs(tmp_path, ROBERTA, tokenizer_config=config, special_tokens_map={"mask_token": mask})
    ours = Tokenizer.from_folder(folder)
    assert [ours.id_to_token(i) for i in ours.encode("a <mask> b")] == ["<s>", "a", "<mask>", "Ġ", "b", "</s>"]


@pytest.mark.slow  # imports transformers
def test_clip_equals_transformers(tmp_path: Path):
    assert_same("CLIPTokenizer", made.write_clip(tmp_path, tokenizer_config={"tokenizer_class": "CLIPTokenizer"}))


def test_lower_case_words_are_found_and_framed(tmp_path: Path):
    lines = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "cafe", "the", "##s", "渡", "船", "T"]
    (tmp_path / "vocab.txt").write_text("\n".join(lines))
    ours = Tokenizer.from_folder(tmp_path)
    assert ours.encode("The cafés 渡船") == [2, 5, 4, 6, 7, 8, 3]
    made.write(tmp_path, tokenizer_config={"do_lower_case": False})
    assert Tokenizer.from_folder(tmp_path).encode("The T") == [2, 1, 9, 3]
    assert ours.kind == "WordPiece (vocab.txt)"


@pytest.mark.parametrize(
    "words", [{"config": {"model_type": "mpnet"}}, {"tokenizer_config": {"tokenizer_class": "MPNetTokenizer"}}]
)
def test_an_mpnet_frames_words_as_roberta_does(tmp_path: Path, words: dict):
    lines = ["<s>", "<pad>", "</s>", "<unk>", "[UNK]", "cafe", "the", "##s", "<mask>"]
    (tmp_path / "vocab.txt").write_text("\n".join(lines))
    ours = Tokenizer.from_folder(made.write(tmp_path, **words))
    # ids are those of MPNetTokenizer of transformers 5.23 for this file
    assert ours.encode("The cafés boat") == [0, 6, 5, 7, 4, 2]
    assert ours.encode("the <mask> cafe") == [0, 6, 8, 5, 2]


def test_a_line_that_stands_twice_is_told(tmp_path: Path):
    (tmp_path / "vocab.txt").write_text("[UNK]\n[CLS]\n[SEP]\na\na\n")
    ours = Tokenizer.from_folder(tmp_path)
    assert ours.encode("a") == [1, 4, 2]  # as transformers reads it: the last one counts
    assert ours.notes == ["vocab.txt has 1 lines that stand there twice; each token has the id of its last line"]


def test_the_model_type_says_whose_rules_hold_where_no_class_is_named(tmp_path: Path):
    folder = made.write_pairs(tmp_path, ROBERTA, config={"model_type": "roberta"})
    ids = Tokenizer.from_folder(folder).encode("the")
    assert (ids[0], ids[-1]) == (0, 2)
    made.write(folder, config={"model_type": "qwen2"})
    assert "Qwen2" in Tokenizer.from_folder(folder).kind


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "does not say whose rules it follows.*\n.*name its tokenizer_class"),
        ({"tokenizer_config": {"tokenizer_class": "CodeGenTokenizer"}}, "is for CodeGenTokenizer, whose rules zoo"),
        ({"config": {"model_type": "ctrl"}}, "is for ctrl, whose rules zoo"),
    ],
)
def test_a_class_of_unknown_rules_is_refused(tmp_path: Path, files: dict, message: str):
    with pytest.raises(CheckpointError, match=r"(?s)vocab.json: " + message):
        Tokenizer.from_folder(made.write_pairs(tmp_path, (END,), **files))


def test_merges_that_do_not_fit_are_told_with_their_line(tmp_path: Path):
    folder = made.write_pairs(tmp_path, (END,), config={"model_type": "gpt2"})
    (folder / "merges.txt").write_text("#version: 0.2\na \u0120\n\n")
    with pytest.raises(CheckpointError, match=r"merges\.txt: line 2: .* are not tokens of vocab\.json"):
        Tokenizer.from_folder(folder)
    (folder / "merges.txt").unlink()
    with pytest.raises(CheckpointError, match=r"merges\.txt: is not there"):
        Tokenizer.from_folder(folder)
