"""Marian's folders: pieces of source.spm, numbered by vocab.json, as transformers does it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from zoo.errors import CheckpointError
from zoo.text import Tokenizer

from . import made
from .passages import EVERY

CODES = (">>fr<<", ">>de<<")


def write(folder: Path) -> Path:
    data = made.sentencepiece_model(**made.NFKC)
    pieces = [made.processor(data).id_to_piece(i) for i in range(made.processor(data).get_piece_size())]
    kept = [piece for i, piece in enumerate(pieces[3:]) if i % 17]  # not every piece has a number,
    numbered = ["</s>", "<unk>", *reversed(kept), "Ω", *CODES, "<pad>"]  # and a number may be the target's alone
    (folder / "source.spm").write_bytes(data)
    (folder / "target.spm").write_bytes(data)
    return made.write(folder, vocab={token: index for index, token in enumerate(numbered)})


def test_pieces_are_numbered_by_vocab_json(tmp_path: Path):
    ours = Tokenizer.from_folder(write(tmp_path))
    vocab = json.loads((tmp_path / "vocab.json").read_text())
    theirs = made.processor((tmp_path / "source.spm").read_bytes())
    for text in (text for text in EVERY if "<" not in text):
        expected = [vocab.get(piece, 1) for piece in theirs.encode(text, out_type=str)]
        assert ours.encode(text) == [*expected, 0], text
    assert ours.encode(">>fr<< the time")[0] == vocab[">>fr<<"]
    assert ours.encode("Ω")[-2:] == [vocab["Ω"], 0]  # unknown to source.spm, and found among the numbers
    assert ours.decode(ours.encode("the time, 12")) == "the time, 12"
    assert ours.encode_with_offsets(">>fr<<the").offsets[0] == (0, 6)


@pytest.mark.slow  # imports transformers
@pytest.mark.filterwarnings("ignore:Recommended")
def test_marian_equals_transformers(tmp_path: Path):
    names = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    made.write(write(tmp_path), tokenizer_config={"tokenizer_class": "MarianTokenizer", **names})
    ours, theirs = Tokenizer.from_folder(tmp_path), made.theirs("MarianTokenizer", tmp_path)
    for text in (*EVERY, ">>fr<<the time", ">>fr<< the time", ">>xx<<the", "a Ω b"):
        ids = ours.encode(text)
        assert ids == theirs.encode(text), text
        for skip in (True, False):
            assert ours.decode(ids, skip) == theirs.decode(ids, skip_special_tokens=skip), text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (None, "vocab.json: is not there"),
        ({"</s>": 0}, r"vocab.json: unk_token: '<unk>' is not there"),
        ({"</s>": 0, "<unk>": 0}, "gives an id to two tokens"),
        ({"</s>": 0, "<unk>": -1}, "-1 is not the id of a token"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(tmp_path: Path, change: dict | None, message: str):
    write(tmp_path)
    (tmp_path / "vocab.json").unlink()
    if change is not None:
        made.write(tmp_path, vocab=change)
    with pytest.raises(CheckpointError, match=message):
        Tokenizer.from_folder(tmp_path)
