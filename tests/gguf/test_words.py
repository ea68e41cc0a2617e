"""Tokenizers that zoo writes for llama.cpp: the same ids again in zoo, and in llama.cpp itself."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

import zoo
from zoo.errors import CheckpointError, UsageError, ZooWarning
from zoo.text import Tokenizer as ZooTokenizer

pytest.importorskip("gguf", reason="the extra gguf is not installed")

from tests.gguf.models import ENDS, built, with_tokenizer
from zoo.text.into_gguf import metadata_of
from zoo.text.tokens.splitting import SPLITTINGS

TEXTS = (
    "The cats' 1234 hats,  and\n\nthe dogs!", " a\ttab", "Ünïcödé 你好 😀 end ",
    "don't I'LL x=12.5e3;  ", "<s>the</s> the",
)  # fmt: skip
CORPUS = ["The cats and the dogs sat on the mats, and then they ate 12 hats.", "don't you see? I'll tell you 2024."] * 4


LLAMA = {"byte_fallback": True, "remove_extra_whitespaces": False, "normalization_rule_name": "identity"}


def byte_level(rule: str) -> Tokenizer:
    """A byte-level BPE, trained a little, that splits by one of llama.cpp's rules."""
    splitting = SPLITTINGS[rule]
    backend = Tokenizer(models.BPE(ignore_merges=splitting.whole_words))
    backend.pre_tokenizer = splitting.pre_tokenizer()
    if splitting.is_normalized:
        backend.normalizer = normalizers.NFC()
    backend.decoder = decoders.ByteLevel()
    trainer: Any = trainers.BpeTrainer(
        vocab_size=330, special_tokens=list(ENDS.values()), show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    backend.train_from_iterator(CORPUS, trainer)
    return backend


def sentencepiece_folder(folder: Path, kind: str, **options: Any) -> Path:
    """A tokenizer.model of SentencePiece's own making."""
    spm = pytest.importorskip("sentencepiece")
    model = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS), model_writer=model, model_type=kind, vocab_size=330 if kind == "bpe" else 60,
        minloglevel=2, hard_vocab_limit=False, **options,
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    name = "spiece.model" if kind == "unigram" else "tokenizer.model"
    (folder / name).write_bytes(model.getvalue())
    return folder


def again(tokenizer: ZooTokenizer, rows: int, arch: str = "llama") -> ZooTokenizer:
    metadata = metadata_of(tokenizer, rows)
    metadata |= {key: list(value) for key, value in metadata.items() if isinstance(value, bytes)}  # as it is read
    return ZooTokenizer.from_gguf(metadata | {"general.architecture": arch})


@pytest.mark.parametrize(
    "rule",
    [
        "gpt-2",
        "smollm",
        "llama-bpe",
        "qwen2",
        "qwen35",
        "tekken",
        "gpt-4o",
        "bloom",
        "glm4",
        "deepseek-v3",
        "modern-bert",
    ],
)
def test_byte_level_rules_are_recognised_by_what_they_do(tmp_path: Path, rule: str) -> None:
    before = ZooTokenizer.from_folder(with_tokenizer(tmp_path, byte_level(rule)))
    metadata = metadata_of(before, 340)
    assert SPLITTINGS[metadata["tokenizer.ggml.pre"]].pattern == SPLITTINGS[rule].pattern
    assert (len(metadata["tokenizer.ggml.tokens"]), metadata["tokenizer.ggml.tokens"][339]) == (340, "[PAD339]")
    after = again(before, 340)
    for text in TEXTS:
        assert after.encode(text) == before.encode(text)
        assert after.decode(before.encode(text)) == before.decode(before.encode(text))
    assert after.special_tokens == before.special_tokens


def test_a_rule_without_a_name_is_refused(tmp_path: Path) -> None:
    backend = byte_level("gpt-2")
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex("a+"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer = ZooTokenizer.from_folder(with_tokenizer(tmp_path, backend))
    with pytest.raises(UsageError, match="splitting texts is none that zoo knows"):
        metadata_of(tokenizer, 340)


def test_tokens_beyond_the_embedding_are_refused(tmp_path: Path) -> None:
    tokenizer = ZooTokenizer.from_folder(with_tokenizer(tmp_path, byte_level("gpt-2")))
    with pytest.raises(UsageError, match="the model has 300 rows"):
        metadata_of(tokenizer, 300)


def test_pieces_that_are_normalised_first_are_refused(tmp_path: Path) -> None:
    folder = sentencepiece_folder(tmp_path, "bpe", byte_fallback=True)  # by SentencePiece's usual table of characters
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "LlamaTokenizer", "legacy": true}')
    with pytest.raises(UsageError, match="before it merges"):
        metadata_of(ZooTokenizer.from_folder(folder), 340)


def test_merges_of_sentencepiece_are_told_by_scores(tmp_path: Path) -> None:
    folder = sentencepiece_folder(tmp_path, "bpe", **LLAMA)
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "LlamaTokenizer", "legacy": true}')
    before = ZooTokenizer.from_folder(folder)
    after = again(before, 340)
    for text in TEXTS:
        assert after.encode(text) == before.encode(text)


def test_gemmas_runs_of_spaces_are_symbols(tmp_path: Path) -> None:
    """As SentencePiece itself splits, which Gemma's file is made for."""
    symbols = ["▁▁", "▁▁▁", "\n\n", "<start_of_turn>"]
    options = LLAMA | {"user_defined_symbols": symbols, "add_dummy_prefix": False}
    folder = sentencepiece_folder(tmp_path, "bpe", **options)
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "GemmaTokenizer"}')
    before = ZooTokenizer.from_folder(folder)
    after = again(before, 340, arch="gemma2")
    spm = pytest.importorskip("sentencepiece").SentencePieceProcessor(str(folder / "tokenizer.model"))
    for text in ("The  cats   sat\n\non", "a <start_of_turn>the  end", " the hats"):
        assert after.encode(text, add_special_tokens=False) == spm.encode(text)


def test_a_unigram_keeps_its_scores(tmp_path: Path) -> None:
    folder = sentencepiece_folder(tmp_path, "unigram", pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "T5Tokenizer", "extra_ids": 3}')
    before = ZooTokenizer.from_folder(folder)
    after = again(before, 80, arch="t5")
    for text in ("The cats and the dogs.", "  two  spaces ", "unknown ☃ here", "a <extra_id_0> b"):
        assert after.encode(text) == before.encode(text)


BERT = {"unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]"}


def bert() -> Tokenizer:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "##s", "sat", "!", "un", "##h", "e", "##e"]
    model: Any = models.WordPiece(vocab={word: index for index, word in enumerate(words)}, unk_token="[UNK]")
    backend = Tokenizer(model)
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    return backend


def test_word_pieces_are_marked_where_words_begin(tmp_path: Path) -> None:
    folder = with_tokenizer(tmp_path, bert())
    (folder / "tokenizer_config.json").write_text(json.dumps(BERT))
    before = ZooTokenizer.from_folder(folder)
    tokens = metadata_of(before, 20)["tokenizer.ggml.tokens"]
    assert (tokens[5], tokens[7], tokens[3]) == ("▁the", "s", "[SEP]")
    after = again(before, 20, arch="bert")
    for text in ("The cats sat!", "Unhé the"):
        assert after.encode(text, add_special_tokens=False) == before.encode(text, add_special_tokens=False)
    assert after.encode("the", add_special_tokens=False) == [5]


def test_capitals_that_are_kept_are_refused(tmp_path: Path) -> None:
    backend = bert()
    backend.normalizer = normalizers.BertNormalizer(lowercase=False)
    folder = with_tokenizer(tmp_path, backend)
    (folder / "tokenizer_config.json").write_text(json.dumps(BERT))
    tokenizer = ZooTokenizer.from_folder(folder)
    with pytest.raises(UsageError, match="lower letters"):
        metadata_of(tokenizer, 20)


def test_a_folder_comes_back_with_all_that_chat_needs(tmp_path: Path) -> None:
    """From a folder to a GGUF file and back: tokenizer, template, settings and special tokens."""
    backend = byte_level("llama-bpe")
    backend.add_tokens([AddedToken("<|user|>", special=False, normalized=False)])
    zoo.save(built("llama", vocab_size=340), tmp_path / "hf")
    folder = with_tokenizer(tmp_path / "hf", backend, chat_template="{{ bos_token }}{{ messages[0].content }}<|user|>")
    settings = {"do_sample": True, "temperature": 0.5, "top_k": 7, "eos_token_id": 1}
    (folder / "generation_config.json").write_text(json.dumps(settings))
    file = zoo.convert(folder, tmp_path / "m.gguf", format="gguf").folder
    back = zoo.convert(file, tmp_path / "back", format="hf").folder
    one, two = ZooTokenizer.from_folder(folder), ZooTokenizer.from_folder(back)
    talk = [{"role": "user", "content": "the cats' 12"}]
    assert two.encode_chat(talk) == one.encode_chat(talk)
    found = json.loads((back / "generation_config.json").read_text())
    assert {name: found[name] for name in ("do_sample", "temperature", "top_k")} == {
        "do_sample": True, "temperature": 0.5, "top_k": 7,
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        "gpt-2",
        "smollm",
        "llama-bpe",
        "qwen2",
        "qwen35",
        "tekken",
        "gpt-4o",
        "bloom",
        "deepseek-v3",
        "modern-bert",
        "spm",
    ],
)
def test_llama_cpp_splits_texts_as_zoo_does(tmp_path: Path, kind: str) -> None:
    pytest.importorskip("xllamacpp", reason="llama.cpp, as xllamacpp brings it, is not installed")
    from tests.gguf.engine import llama_cpp

    zoo.save(built("llama", vocab_size=340), tmp_path / "hf")
    if kind == "spm":
        folder = sentencepiece_folder(tmp_path / "hf", "bpe", **LLAMA)
        (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "LlamaTokenizer", "legacy": true}')
    else:
        folder = with_tokenizer(tmp_path / "hf", byte_level(kind))
    file = zoo.convert(folder, tmp_path / "m.gguf", format="gguf").folder
    ours = ZooTokenizer.from_folder(folder)
    with llama_cpp(file) as engine:
        for text in (*TEXTS[:4], *(["नमस्ते दुनिया, x̌_y"] if kind == "qwen35" else [])):  # marks that stand alone
            assert engine.tokenize(text) == ours.encode(text), text


def test_a_model_without_a_tokenizer_is_told(tmp_path: Path) -> None:
    zoo.save(built("llama"), tmp_path / "hf")
    with pytest.warns(ZooWarning, match="will have no tokenizer"):
        file = zoo.convert(tmp_path / "hf", tmp_path / "m.gguf", format="gguf").folder
    assert zoo.load(file).config.vocab_size == 264
    with pytest.raises(CheckpointError, match="the file has no tokenizer"):
        zoo.inspect(file).tokenizer  # noqa: B018  (it is read when it is asked for)
