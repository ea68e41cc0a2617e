# ruff: noqa: E501 - each case is a line, to be read as one
"""Tokenizers made to hang, to panic or to eat the memory; each is read and tried on a text."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import struct
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from zoo.errors import ZooError
from zoo.text import Tokenizer
from zoo.text.bounds import limits

BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": False}
SPLIT = {"type": "Split", "behavior": "Isolated", "invert": False}
SMALL = {"type": "WordLevel", "vocab": {"a": 0, "b": 1}, "unk_token": "a"}
PIECE_A, NAMED = {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "[X]", "type_id": 0}}
FRAME = {"type": "TemplateProcessing", "pair": [PIECE_A]}


def replace(pattern: Any, content: str) -> dict[str, Any]:
    return {
        "type": "Replace",
        "pattern": {"String": pattern} if isinstance(pattern, str) else pattern,
        "content": content,
    }


def regex(pattern: str) -> dict[str, Any]:
    return SPLIT | {"pattern": {"Regex": pattern}}


def steps(key: str, nodes: list[Any]) -> dict[str, Any]:
    return {"type": "Sequence", key: nodes}


def nested(key: str, depth: int, node: Any) -> Any:
    return node if depth == 0 else steps(key, [nested(key, depth - 1, node)])


def table(units: list[int], texts: bytes) -> dict[str, Any]:
    data = struct.pack(f"<{len(units) + 1}I", 4 * len(units), *units) + texts
    return {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(data).decode()}


def unigram(pieces: list[str]) -> dict[str, Any]:
    return {"type": "Unigram", "unk_id": 0, "vocab": [[piece, -1.0] for piece in pieces]}


def added(contents: list[str], **flags: bool) -> list[dict[str, Any]]:
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    return [{"id": 2 + i, "content": content} | plain | flags for i, content in enumerate(contents)]


def bpe(vocab: dict[str, Any], merges: list[Any], **options: Any) -> dict[str, Any]:
    plain = {"dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None}
    return (
        {"type": "BPE", "fuse_unk": False, "byte_fallback": False, "vocab": vocab, "merges": merges} | plain | options
    )


def tried(
    text: str = "a" * 3000 + " b", *, config: Any = "{}", raw: Any = None, ids: int = 500, **tree: Any
) -> Callable[[], str]:
    """Writes the files; what is measured then is their reading and use."""
    folder = Path(tempfile.mkdtemp())
    data = {"version": "1.0", "added_tokens": [], "model": SMALL} | tree
    (folder / "tokenizer.json").write_bytes(raw() if raw else json.dumps(data).encode())
    (folder / "tokenizer_config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    return partial(outcome, folder, text, ids)


def outcome(folder: Path, text: str, ids: int) -> str:
    """The error, or what the text and its ids became."""
    try:
        ours = Tokenizer.from_folder(folder)
        found = ours.encode(text)
        stream = ours.decode_stream()
        told = "".join(map(stream.push, found[:50])) + stream.finish() + ours.decode(found[:ids] + [0] * ids)
        ours.backend.to_str()
        return f"read: {len(found)} tokens, {len(told)} characters"
    except ZooError as error:
        return f"refused: {error}".replace(f"{folder}/", "")
    finally:
        shutil.rmtree(folder)


def hidden_word(pattern: str) -> Callable[[], Callable[[], str]]:
    """A pattern over a text that lets it begin everywhere and end nowhere."""
    return partial(tried, "a" * 3000 + "cb", pre_tokenizer=regex(pattern))


DOUBLE = replace("a", "aa")
X2 = [replace("a", "a" * 200)] * 6
CASES: dict[str, Callable[[], Callable[[], str]]] = {
    # normalizers
    "six replacements": partial(tried, normalizer=steps("normalizers", X2)),
    "doubling forty times": partial(tried, normalizer=steps("normalizers", [DOUBLE] * 40)),
    "a long replacement": partial(tried, normalizer=replace("a", "b" * (1 << 20))),
    "between all letters": partial(tried, normalizer=replace({"Regex": "x*"}, "b" * 200)),
    "an empty text to replace": partial(tried, normalizer=replace("", "b")),
    "a long prefix": partial(tried, normalizer={"type": "Prepend", "prepend": "b" * (1 << 20)}),
    "prefixes in a chain": partial(tried, normalizer=steps("normalizers", [{"type": "Prepend", "prepend": "bbbb"}] * 9)),
    "bytes as letters": partial(tried, normalizer=steps("normalizers", [{"type": "ByteLevel"}] * 30)),
    "ten thousand steps": partial(tried, normalizer=steps("normalizers", [{"type": "NFC"}] * 10_000)),
    "steps in steps": partial(tried, normalizer=nested("normalizers", 12, {"type": "NFC"})),
    "steps in 50 steps": partial(tried, normalizer=nested("normalizers", 30, {"type": "NFC"})),
    "a table that leads out": partial(tried, normalizer=table([1 << 30] * 256, b"a\0")),
    "a table of values out": partial(tried, normalizer=table([0x100, *[0x80000063] * 255], b"a\0")),
    "a table into a character": partial(tried, normalizer=table([0x100, *[0x80000001] * 255], "é\0".encode())),
    "a table of a long text": partial(tried, normalizer=table([0] * 256, b"a" * (1 << 20))),
    "no table": partial(tried, normalizer={"type": "Precompiled", "precompiled_charsmap": ""}),
    "a table shorter than it says": partial(
        tried, normalizer={"type": "Precompiled", "precompiled_charsmap": base64.b64encode(b"\xff" * 8).decode()}
    ),
    "two tables": partial(tried, normalizer=steps("normalizers", [table([0] * 256, b"a\0")] * 2)),
    "64 times a long text": partial(
        tried, "a" * 300_000, normalizer=steps("normalizers", [replace("a", "a" * 8)] * 2)
    ),
    # pre-tokenizers
    "nested repetition": hidden_word("(a+)+$"),
    "repetition in a group": hidden_word("(?:(?:a|b)*c*)*[bx]"),
    "two ways": hidden_word("(a|a)*[bx]"),
    "ways within bounds": hidden_word("(?:a{1,3})+[bx]"),
    "cubic": hidden_word("a*a*[bx]"),
    "to the fifth": hidden_word("a*a*a*a*[bx]"),
    "quadratic": partial(tried, "a" * 100_000 + "cb", pre_tokenizer=regex("a*[bx]")),
    "fifty doubts": hidden_word("(a?){50}a{50}[bx]"),
    "thirty doubts": hidden_word("a?" * 30 + "a" * 30 + "[bx]"),
    "looking ahead": hidden_word("(?=(?:a+)+[bx]).|b"),
    "looking far ahead": partial(tried, "a" * 100_000, pre_tokenizer=regex("(?!a*b)a")),
    "back references": hidden_word(r"(a*)\1*[bx]"),
    "a pattern that calls itself": hidden_word(r"(?<x>a\g<x>?a\g<x>?)"),
    "an absent repeater": hidden_word("(?~(a|b)*c)"),
    "a million repetitions": hidden_word("(?:a{1000}){1000}"),
    "a thousand brackets": hidden_word("(" * 1000 + "a" + ")" * 1000),
    "a pattern of a megabyte": hidden_word("a|" * (1 << 19)),
    "a broken pattern": hidden_word("("),
    "an unknown script": hidden_word(r"\p{Nonsense}"),
    "a pattern in a normalizer": partial(tried, "a" * 3000 + "cb", normalizer=replace({"Regex": "a*a*[bx]"}, "")),
    "prefixes of bytes": partial(tried, pre_tokenizer=steps("pretokenizers", [BYTE_LEVEL] * 20)),
    "prefixes of pieces": partial(
        tried,
        pre_tokenizer=steps(
            "pretokenizers",
            [{"type": "Metaspace", "replacement": c, "prepend_scheme": "always", "split": True} for c in "bcdefghijkl"],
        ),
    ),
    "pieces of no length": partial(tried, pre_tokenizer={"type": "FixedLength", "length": 0}),
    "pieces of endless length": partial(tried, pre_tokenizer={"type": "FixedLength", "length": 1 << 62}),
    # models
    "ids without end": partial(tried, model=SMALL | {"vocab": {"a": 0, "b": 4_294_967_294}}),
    "ids below zero": partial(tried, model=SMALL | {"vocab": {"a": 0, "b": -1}}),
    "ids in halves": partial(tried, model=SMALL | {"vocab": {"a": 0, "b": 0.5}}),
    "a token of megabytes": partial(tried, ids=50_000, model=SMALL | {"vocab": {"a" * (1 << 22): 0, "a": 1}}),
    "two million tokens": lambda: tried(model=SMALL | {"vocab": {f"{i:x}": i for i in range(1 << 21)}}),
    "a million tokens": lambda: tried(model=SMALL | {"vocab": {f"{i:x}": i for i in range(1 << 20)}}),
    "half a million merges": lambda: tried(model=bpe({c: 0 for i in range(720) for j in range(720) for c in (chr(0x4E00 + i), chr(0x4E00 + i) + chr(0x4E00 + j))}, [[chr(0x4E00 + i), chr(0x4E00 + j)] for i in range(720) for j in range(720)])),
    "a tree in bounds": lambda: tried(model=unigram([hashlib.sha256(str(i).encode()).hexdigest()[:10] for i in range(140_000)])),
    "no unknown token": partial(tried, "z", model=SMALL | {"unk_token": "nowhere"}),
    "merges that overrun": partial(tried, model=bpe({"a": 0, "b": 1}, [["a", "b"]])),
    "merges of a prefix": partial(tried, model=bpe({"a": 0, "b": 1}, [["a", "b"]], continuing_subword_prefix="####")),
    "merges in a circle": partial(tried, model=bpe({"a": 0, "aa": 0, "aaa": 0}, [["a", "a"], ["aa", "a"]])),
    "merges of one": partial(tried, model=bpe({"a": 0}, ["a"])),
    "a suffix of megabytes": lambda: tried(model=bpe({"a": 0}, [], end_of_word_suffix="b" * (1 << 24))),
    "words without end": partial(
        tried,
        model={
            "type": "WordPiece", "vocab": {"a": 0, "##a": 1}, "unk_token": "a", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 10**9,
        },
    ),
    "pieces at every place": partial(tried, "a" * 100_000, model=unigram(["a" * i for i in range(1, 2000)])),
    "a tree of pieces": lambda: tried(model=unigram([f"{i:05x}" + f"{i:05x}" * 48 for i in range(30_000)])),
    "an unknown piece out of reach": partial(tried, model=unigram(["a"]) | {"unk_id": 10**9}),
    "dropout": partial(tried, model=bpe({"a": 0}, [], dropout=0.5)),
    # post-processors
    "a million pieces": lambda: tried(post_processor=FRAME | {"single": [PIECE_A, *[NAMED] * 10**6], "special_tokens": {
        "[X]": {"id": "[X]", "ids": [0], "tokens": ["a"]}}}),
    "a piece of a million": lambda: tried(post_processor=FRAME | {"single": [PIECE_A, NAMED], "special_tokens": {
        "[X]": {"id": "[X]", "ids": [0] * 10**6, "tokens": ["a"] * 10**6}}}),
    "a token that is not there": partial(tried, post_processor=FRAME | {"single": [PIECE_A, NAMED], "special_tokens": {}}),
    "the text again and again": partial(tried, post_processor=FRAME | {"single": [PIECE_A] * 60, "special_tokens": {}}),
    "the second of one text": partial(
        tried, post_processor=FRAME | {"single": [{"Sequence": {"id": "B", "type_id": 0}}], "special_tokens": {}}
    ),
    "two frames": partial(tried, post_processor=steps("processors", [
        {"type": "BertProcessing", "cls": ["a", 0], "sep": ["b", 1]},
        FRAME | {"single": [PIECE_A], "special_tokens": {}}])),
    "a frame by another name": partial(
        tried, post_processor={"type": "ByteLevel", "single": [PIECE_A, NAMED], "pair": [PIECE_A], "special_tokens": {}}
    ),
    # decoders
    "a chain of decoders": partial(tried, decoder=steps("decoders", X2)),
    "decoders between all letters": partial(tried, decoder=steps("decoders", [{"type": "BPEDecoder", "suffix": ""}] * 30)),
    "words between all letters": partial(tried, decoder=steps("decoders", [
        {"type": "CTC", "pad_token": "x", "word_delimiter_token": "", "cleanup": True}] * 30)),
    "a decoder that strips the end": partial(tried, decoder={"type": "Strip", "content": "a", "start": 0, "stop": 5}),
    "a decoder that strips without end": partial(
        tried, decoder={"type": "Strip", "content": "a", "start": 1 << 62, "stop": 0}
    ),
    "a decoder with a slow pattern": partial(tried, decoder=steps("decoders", [
        {"type": "Fuse"}, replace({"Regex": "a*a*[bx]"}, "")])),
    "a decoder of no kind": partial(tried, decoder={"type": "Magic"}),
    "a decoder in a list": partial(tried, decoder=[{"type": "Fuse"}]),
    # cutting and padding
    "padding without end": partial(tried, padding={
        "strategy": {"Fixed": 10**9}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0,
        "pad_token": "a"}),
    "padding to a multiple": partial(tried, padding={
        "strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": 10**9, "pad_id": 0, "pad_type_id": 0,
        "pad_token": "a"}),
    "cutting by steps of none": partial(tried, truncation={
        "max_length": 1, "stride": 5, "strategy": "LongestFirst", "direction": "Right"}),
    # added tokens
    "fifty thousand tokens": partial(tried, added_tokens=added([f"<extra_{i}>" for i in range(50_000)])),
    "half a million tokens": lambda: tried(added_tokens=added([f"<{i:x}>" for i in range(500_000)])),
    "added tokens of megabytes": lambda: tried(added_tokens=added(["a" * 1000 + str(i) for i in range(20_000)])),
    "an added token of nothing": partial(tried, added_tokens=added([""])),
    "added tokens that vanish": partial(tried, normalizer={"type": "Strip", "strip_left": True, "strip_right": True},
                                        added_tokens=added([" ", "  "], normalized=True)),
    "added tokens that grow": partial(
        tried, normalizer=steps("normalizers", [replace("a", "a" * 60)]),
        added_tokens=added([f"{'a' * 900}{i}" for i in range(1000)], normalized=True)),
    "spaces around every letter": partial(tried, " a" * 50_000, added_tokens=added(["a"], lstrip=True, rstrip=True)),
    "fifty thousand in the config": partial(tried, config=({"added_tokens_decoder": {
        str(2 + i): {"content": f"<extra_{i}>", "special": i % 2 == 0} for i in range(50_000)}})),
    "an id of five thousand digits": partial(tried, config=({"added_tokens_decoder": {"9" * 5000: "x"}})),
    "fifty thousand special ones": partial(tried, config=({"additional_special_tokens": ["a"] * 50_000})),
    # the files themselves
    "twenty thousand keys, one twice": partial(
        tried, config="{" + "".join(f'"{i}":0,' for i in range(20_000)) + '"x":0,"x":0}'),
    "a key twice": partial(tried, raw=lambda: b'{"version":"1.0","normalizer":null,"normalizer":null}'),
    "a byte order mark": partial(tried, raw=lambda: b"\xef\xbb\xbf" + json.dumps({"model": SMALL}).encode()),
    "a number beyond all": partial(tried, config='{"model_max_length": 1e999}'),
    "half a character": partial(tried, config='{"bos_token": "\\ud800"}'),
    "the length that means none": partial(tried, "ab", config='{"model_max_length": 1000000000000000019884624838656}'),
    "brackets without end": partial(tried, raw=lambda: b"[" * (1 << 20)),
    "fifty megabytes": partial(tried, raw=lambda: b" " * (50 << 20)),
    "many lists": partial(tried, raw=lambda: b'{"a":[' + b"[]," * (10 << 20) + b"0]}"),
    "a long text in astral letters": partial(tried, raw=lambda: ('{"version": "' + "a" * (40 << 20) + '😀"}').encode()),
}  # fmt: skip

HEAVY = {
    "two million tokens", "a million tokens", "half a million merges", "a tree in bounds", "a tree of pieces",
    "half a million tokens", "added tokens of megabytes", "added tokens that grow", "fifty megabytes", "many lists",
    "a long text in astral letters", "a million pieces", "a piece of a million", "a suffix of megabytes",
    "a token of megabytes", "quadratic", "looking far ahead", "to the fifth", "thirty doubts", "64 times a long text",
}  # fmt: skip
READ = {
    "fifty doubts", "a million tokens", "half a million merges", "a tree in bounds", "merges in a circle",
    "padding without end", "padding to a multiple", "cutting by steps of none", "fifty thousand tokens",
    "added tokens that vanish", "added tokens that grow", "spaces around every letter", "fifty thousand in the config",
    "fifty thousand special ones", "the length that means none",
}  # fmt: skip


def cases(kind: str) -> dict[str, Callable[[], Callable[[], str]]]:
    """Those of a kind: QUICK or HEAVY."""
    if kind == "QUICK":
        limits.SECONDS = 0.3  # what is stopped is stopped sooner
    return {name: case for name, case in CASES.items() if (name in HEAVY) == (kind == "HEAVY")}
