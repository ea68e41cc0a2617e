"""Small vocabularies in the files that models come with, trained once by the libraries that own the formats."""

from __future__ import annotations

import base64
import io
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import BPE, WordPiece
from tokenizers.trainers import BpeTrainer, WordPieceTrainer

from zoo.text.tokens.parts import byte_letters

from .passages import CORPUS

LLAMA = {"normalization_rule_name": "identity", "remove_extra_whitespaces": False, "byte_fallback": True}
LLAMA |= {"model_type": "bpe", "split_digits": True, "allow_whitespace_only_pieces": True}
NFKC = {"model_type": "unigram"}
T5 = NFKC | {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}
GEMMA = LLAMA | {"add_dummy_prefix": False, "pad_id": 0, "eos_id": 1, "bos_id": 2, "unk_id": 3}
GEMMA |= {"bos_piece": "<bos>", "eos_piece": "<eos>", "user_defined_symbols": ["<start_of_turn>", "▁▁", "▁▁▁", "\n\n"]}


def sentencepiece_model(size: int = 560, **options: Any) -> bytes:
    """A model file. The options are those of spm_train."""
    return _sentencepiece_model(size, json.dumps(options, sort_keys=True))


@cache
def _sentencepiece_model(size: int, options: str) -> bytes:
    library = pytest.importorskip("sentencepiece", reason="it makes the model files")
    written = io.BytesIO()
    library.SentencePieceTrainer.train(
        sentence_iterator=iter(line for passage in CORPUS for line in passage.split("\n") if line.strip()),
        model_writer=written,
        vocab_size=size,
        character_coverage=0.98,
        hard_vocab_limit=False,
        num_threads=1,
        minloglevel=2,
        **json.loads(options),
    )
    return written.getvalue()


def processor(data: bytes) -> Any:
    """The library's own reader of a model file."""
    library = pytest.importorskip("sentencepiece", reason="it is the reference")
    return library.SentencePieceProcessor(model_proto=data)


@cache
def _byte_pairs(size: int) -> str:
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer.to_str()


def byte_pairs(size: int = 400) -> tuple[dict[str, int], list[list[str]]]:
    """Vocabulary and merges over bytes."""
    model = json.loads(_byte_pairs(size))["model"]
    return model["vocab"], model["merges"]


def write_pairs(folder: Path, special: tuple[str, ...] = (), **files: Any) -> Path:
    """vocab.json, merges.txt and JSON files beside them; `special` stand first in the vocabulary."""
    vocab, merges = byte_pairs()
    numbered = {token: index for index, token in enumerate([*special, *vocab])}
    (folder / "vocab.json").write_text(json.dumps(numbered))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    return write(folder, **files)


def write_clip(folder: Path, **files: Any) -> Path:
    """vocab.json and merges.txt as CLIP has them: the last letter of a word is marked."""
    letters = list(byte_letters().values())
    words = ["the", "time", "town", "cafe"]
    merges: list[tuple[str, str]] = []
    for word in words:
        parts = [*word[:-1], word[-1] + "</w>"]
        while len(parts) > 1:
            merges.append((parts[0], parts[1]))
            parts = [parts[0] + parts[1], *parts[2:]]
    merges = list(dict.fromkeys(merges))
    tokens = [*letters, *(letter + "</w>" for letter in letters), *("".join(pair) for pair in merges)]
    tokens = [*dict.fromkeys(tokens), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    return write(folder, **files)


@cache
def ranks(size: int = 420) -> dict[bytes, int]:
    """A vocabulary of tiktoken: all bytes first, then what merges make of them."""
    bytes_of = {letter: byte for byte, letter in byte_letters().items()}
    tokens = [bytes(bytes_of[letter] for letter in token) for token in byte_pairs(size)[0]]
    ordered = sorted(token for token in tokens if len(token) == 1) + [token for token in tokens if len(token) > 1]
    return {token: rank for rank, token in enumerate(ordered)}


def write_ranks(file: Path) -> None:
    """A file of tiktoken."""
    file.write_text("".join(f"{base64.b64encode(token).decode()} {rank}\n" for token, rank in ranks().items()))


@cache
def word_pieces() -> str:
    """The lines of a vocab.txt."""
    tokenizer = Tokenizer(WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = WordPieceTrainer(vocab_size=500, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(CORPUS + [line.lower() for line in CORPUS], trainer)
    vocab = tokenizer.get_vocab()
    return "".join(f"{token}\n" for token in sorted(vocab, key=vocab.__getitem__))


def write(folder: Path, **files: Any) -> Path:
    """JSON files by their names without the ending."""
    for name, value in files.items():
        (folder / f"{name}.json").write_text(json.dumps(value))
    return folder


def theirs(name: str, folder: Path) -> Any:
    """The tokenizer that a class of transformers makes of a folder."""
    library = pytest.importorskip("transformers", reason="it is the reference")
    return getattr(library, name).from_pretrained(folder)
