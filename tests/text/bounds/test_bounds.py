# ruff: noqa: E501 - patterns and sections stand on a line as files have them
"""A tokenizer from a stranger neither hangs, nor panics, nor eats the memory; those in use are read as they are."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer as Backend

from zoo.errors import CheckpointError
from zoo.text import Tokenizer
from zoo.text.bounds import limits
from zoo.text.bounds.apart import Stopped, apart
from zoo.text.bounds.charsmap import longest_replacement
from zoo.text.bounds.patterns import UnboundedPattern, cost_of

from ..measured import measure
from .hostile_tokenizers import READ

MAX_SECONDS = 3  # of CPU; measured: at most 1 but for what is slow by its size, so that another machine has room
MAX_MEGABYTES = 520  # measured: 503 for half a million merges, which are as many as the largest vocabulary in use has
REFUSED = (
    r"refused: (tokenizer.json: ((normalizer|pre_tokenizer|post_processor|decoder|model|added_tokens)[\w.\[\]…]*: "
    r"|[\w.]+: occurs twice|has [\d,]+ bytes|has more than [\d,]+ values|has too many values|is nested|starts with)"
    r"|tokenizer_config.json: [\w.…]+: )"
)


@pytest.mark.long
@pytest.mark.parametrize("kind", [pytest.param(kind, marks=pytest.mark.slow) for kind in ("QUICK", "HEAVY")])
def test_a_hostile_tokenizer_is_refused_by_its_component_or_read_in_bounds(kind: str) -> None:
    seconds = MAX_SECONDS if kind == "QUICK" else 3 * MAX_SECONDS  # a million tokens are read in 4.3 s
    for name, came in measure("tests.text.bounds.hostile_tokenizers", kind).items():
        assert came["seconds"] < seconds, name
        assert came["megabytes"] < MAX_MEGABYTES, name
        assert came["said"].startswith("read: ") if name in READ else re.match(REFUSED, came["said"]), (name, came)


# Splits of released tokenizers: GPT-2, CLIP, LLaMA 3, Qwen 2 and 3.5, Mistral's Tekken, GPT-4o, cl100k as it is now,
# DBRX, DeepSeek, Falcon, BLOOM, StarCoder, GLM, Kimi, SeamlessM4T, Barthez, OLMo.
REAL_PATTERNS = [
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]"
    r"|\s+(?!\S)|\s",
    r"(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"""
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷ]+",
    r"[\r\n]", r"\s?\p{P}+", r"[一-龥ࠀ-一가-퟿]+", r"\p{N}+", r"\p{N}{1,3}", r"\d", r".", r"\n", r"\s+", r" {2,}",
    r"[0-9][0-9][0-9]", r" ?[^(\s|[.,!?…。，、।۔،])]+", r"[\n\r\t]", r"\s{2,}|[\n\r\t]", r"[一-龥぀-ゟ゠-ヿ]+",
    r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+"
    r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
]  # fmt: skip
SLOWER = [r" +▁", r"^▁+$", r"(?=(\d{3})+(?!\d))", r"\d(?=(?:\d{3})*\b)", r"(?:\r?\n)+(?!\r?\n)"]


@pytest.mark.parametrize("pattern", REAL_PATTERNS)
def test_a_pattern_in_use_goes_over_a_text_once(pattern: str) -> None:
    assert cost_of(pattern).degree == 0


@pytest.mark.parametrize("pattern", SLOWER)
def test_a_rarer_one_is_read_and_run_where_it_can_be_stopped(pattern: str) -> None:
    assert cost_of(pattern).degree > 0


@pytest.mark.parametrize(
    ("pattern", "steps"), [("a*b", 1e10), ("a*a*b", 1e15), ("a{2,5}b", 4e5), ("a?b", 2e5), ("(?=a*)b", 1e10)]
)
def test_the_steps_of_a_pattern_are_those_of_backtracking(pattern: str, steps: float) -> None:
    assert cost_of(pattern).steps(100_000) == steps


@pytest.mark.parametrize(
    "pattern", ["(a+)+b", "(?:a|(b*))*c", "((a*)?)*b", "a**b", "(?i:(x+)*)y", "(?<n>a+)*b", "(?!(a+)+$)a"]
)
def test_endless_repetitions_within_each_other_are_refused(pattern: str) -> None:
    with pytest.raises(UnboundedPattern, match="a repetition inside a repetition"):
        cost_of(pattern)


@pytest.mark.parametrize("pattern", ["(a+)+", "(?:a+b)*", r"(?:\p{L}+'?)+", "(a+)++", r"\p{N}{1,3}+"])
def test_repetitions_that_nothing_can_fail_are_not(pattern: str) -> None:
    assert cost_of(pattern).degree <= 1


# Sections as the converters of transformers write them, for T5, XLM-R, ALBERT, Pegasus, BigBird, Gemma, LLaMA, BERT,
# NLLB, DeBERTa, CTC models, Whisper, GPT-2.
TABLE = {"type": "Precompiled", "precompiled_charsmap": "TABLE"}
SPACES = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}
MARK = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
METASPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
REAL_SECTIONS: list[dict[str, Any]] = [
    {"normalizer": TABLE, "pre_tokenizer": METASPACE, "decoder": METASPACE},
    {
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Replace", "pattern": {"String": "``"}, "content": '"'}, {"type": "NFKD"}, {"type": "StripAccents"},
            {"type": "Lowercase"}, TABLE, SPACES]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, METASPACE]},
    },
    {
        "normalizer": {"type": "Sequence", "normalizers": [
            TABLE, {"type": "Strip", "strip_left": False, "strip_right": True}, SPACES, MARK]},
    },
    {
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, MARK]},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "post_processor": {"type": "TemplateProcessing", "single": [
            {"SpecialToken": {"id": "a", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}], "pair": [
            {"SpecialToken": {"id": "a", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
            {"SpecialToken": {"id": "a", "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"a": {"id": "a", "ids": [0], "tokens": ["a"]}}},
    },
    {
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None,
                       "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "post_processor": {"type": "BertProcessing", "sep": ["a", 0], "cls": ["a", 0]},
    },
    {
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": REAL_PATTERNS[3]}, "behavior": "Isolated", "invert": False},
            {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": False}]},
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "post_processor": {"type": "Sequence", "processors": [
            {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True},
            {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A", "type_id": 0}}],
             "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
             "special_tokens": {}}]},
    },
    {
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Digits", "individual_digits": True}, {"type": "Punctuation", "behavior": "Contiguous"},
            {"type": "FixedLength", "length": 5}, {"type": "UnicodeScripts"}, {"type": "CharDelimiterSplit", "delimiter": "|"}]},
        "decoder": {"type": "CTC", "pad_token": "<pad>", "word_delimiter_token": "|", "cleanup": True},
        "post_processor": {"type": "RobertaProcessing", "sep": ["a", 0], "cls": ["a", 0], "trim_offsets": True,
                           "add_prefix_space": False},
    },
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("sections", REAL_SECTIONS, ids=["t5", "albert", "xlm-r", "llama", "bert", "qwen", "ctc"])
def test_the_forms_of_released_tokenizers_are_read(tmp_path: Path, sections: dict[str, Any]) -> None:
    table = plain_table({"ﬁ": "fi", "Ａ": "A", "ﷺ": "صلى الله عليه وسلم"})
    vocab = {"a": 0, "▁a": 1, "Ġa": 2}
    tree = {"version": "1.0", "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "a"}} | sections
    (tmp_path / "tokenizer.json").write_text(json.dumps(tree).replace('"TABLE"', json.dumps(table)))
    ours, theirs = Tokenizer.from_folder(tmp_path), Backend.from_file(str(tmp_path / "tokenizer.json"))
    for text in ("", "a", " a ﬁ  Ａ", "ﷺ" * 400, "a " * 70_000):
        assert ours.encode(text) == theirs.encode(text).ids
        assert ours.decode([0, 1, 2, 1]) == theirs.decode([0, 1, 2, 1])


def plain_table(replacements: dict[str, str]) -> str:
    """A table of SentencePiece: a double array by first fit, each node's children in a block of 256 units."""
    keys = {key.encode(): value for key, value in replacements.items()}
    prefixes = sorted({key[:i] for key in keys for i in range(len(key) + 1)}, key=len)
    block = {prefix: 256 * (i + 1) for i, prefix in enumerate(p for p in prefixes)}
    units, texts = np.zeros(256 * (len(prefixes) + 1), dtype="<u4"), b""
    place = {b"": 0}
    for prefix in prefixes:
        at = place[prefix]
        offset = at ^ block[prefix]
        unit = (offset << 10 if offset < 1 << 21 else offset << 2 | 1 << 9) | (prefix[-1] if prefix else 0)
        if prefix in keys:
            unit |= 1 << 8
            units[block[prefix]] = 1 << 31 | len(texts)
            texts += keys[prefix].encode() + b"\0"
        units[at] = unit
        place |= {p: block[prefix] ^ p[-1] for p in prefixes if len(p) == len(prefix) + 1 and p[:-1] == prefix}
    return base64.b64encode(np.uint32(units.nbytes).astype("<u4").tobytes() + units.tobytes() + texts).decode()


def test_a_table_is_followed_as_the_library_follows_it() -> None:
    table = plain_table({"ﬁ": "fi", "ﷺ": "صلى الله عليه وسلم"})
    assert longest_replacement(table, "normalizer", "x") == 33  # bytes of the longest: 15 letters and 3 spaces
    units = bytearray(base64.b64decode(table))
    for i in range(4, 4 + 256 * 4, 100):
        broken = units[:i] + b"\xff\xff\xff\x3f" + units[i + 4 :]
        with pytest.raises(CheckpointError, match="not a table"):
            longest_replacement(base64.b64encode(broken).decode(), "normalizer", "x")


def test_what_runs_apart_gives_the_same_ids_and_offsets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    split = {"type": "Split", "pattern": {"Regex": " +b"}, "behavior": "Isolated", "invert": False}
    model = {"type": "WordLevel", "vocab": {"a": 0, " b": 1}, "unk_token": "a"}
    (tmp_path / "tokenizer.json").write_text(json.dumps({"version": "1.0", "model": model, "pre_tokenizer": split}))
    ours = Tokenizer.from_folder(tmp_path)
    here = ours.encode_with_offsets("a b a")
    monkeypatch.setattr(limits, "FREE_STEPS", 0)
    assert ours.encode_with_offsets("a b a") == here
    assert here.ids == [0, 1, 0]
    assert here.offsets == [(0, 1), (1, 3), (3, 5)]


def test_work_apart_is_stopped_told_of_and_given_back() -> None:
    assert apart(lambda: [1, "é"], 5) == [1, "é"]
    with pytest.raises(Stopped, match="takes more than"):
        apart(lambda: [0 for _ in iter(int, 1)], 0.1)
    with pytest.raises(Stopped, match="boom"):
        apart(lambda: [].index("boom") if False else exec("raise ValueError('boom')"), 5)
    with pytest.raises(Stopped):
        apart(lambda: len(bytearray(8 << 30)), 5)
