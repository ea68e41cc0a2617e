"""Hundreds of headers, each changed a little, read by the safetensors library and by zoo: alike, or not at all."""

from __future__ import annotations

import random
import re
import struct
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError, safe_open

from tests.files.make import bits
from zoo.errors import CheckpointError
from zoo.files.safetensors_file import SafetensorsReader, read_header

# Why zoo refuses what the library reads: it takes one of two, passes over a key, or gives what torch cannot hold.
DECLARED = re.compile(
    r"occurs twice|is not a dtype, a shape and two data_offsets|the dtype .* is not known|a tensor's name has"
    r"|not a list of at most 32|from 0 to 2\^48|more than torch can count|a number of more than|too large for a float"
    r"|was written for (tf|flax)"
)
A = '{"dtype":"F32","shape":[2],"data_offsets":[0,8]}'
B = '{"dtype":"U8","shape":[2,2],"data_offsets":[8,12]}'
Z = '{"dtype":"BF16","shape":[0,3],"data_offsets":[8,8]}'
GOOD = f'{{"__metadata__":{{"format":"pt"}},"a-0":{A},"b":{B},"z":{Z}}}'
DATA = struct.pack("<ff", 1.5, -2) + bytes([1, 2, 3, 4])
SPACE = [" ", "\n", "\t", "\r", " \r\n\t ", "\0", "\v", "\f", "\ufeff", "\xa0", "//x\n", ","]
NUMBERS = (
    "-0 -1 00 0 1 2 3 4 8 12 13 2.0 2e0 -0.0 1e400 NaN Infinity 4294967296 281474976710656 18446744073709551616".split()
)
NUMBERS += ["9" * 30, "true", "null", '"2"', "[2]", "{}"]
WORDS = ["U8", "I8", "BOOL", "F16", "BF16", "F32", "F64", "C64", "F4", "F6_E2M3", "F8_E5M2", "f32", "", "a", "b", "a-0"]
WORDS += [
    "__metadata__",
    "format",
    "pt",
    "tf",
    "np",
    "dtype",
    "shape",
    "\\u0061",
    "\\ud800",
    "\\ud83d\\ude00",
    "\\u0000",
]
WORDS += ["n" * 1025, "é", "\\n", "\\x", "\n", "[-0]"]
PIECES = [
    f'"a":{A}',
    f'"b":{B}',
    f'"a-0":{A}',
    f'"y":{Z}',
    '"x":1',
    '"__metadata__":null',
    '"__metadata__":{}',
    '"c":null',
]
PIECES += [
    '"c":["U8",[4],[8,12]]',
    '"shape":[2]',
    '"data_offsets":[0,8]',
    '"c":{"a":[[[[1]]]]}',
    '"__metadata__":{"n":1}',
]
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*|[\[\]{}:,]')


def changed(rng: random.Random) -> bytes:
    """GOOD with one or two changes: to its spaces, a number, a word, a member, or the order of members."""
    text = GOOD
    for _ in range(rng.choice((1, 1, 1, 2))):
        tokens = [*TOKEN.finditer(text)]
        kind = rng.randrange(7)
        if kind == 0:
            at = rng.choice([0, len(text), rng.choice(tokens).start()]) if tokens else 0
            text = text[:at] + rng.choice(SPACE) + text[at:]
        elif kind == 1:
            text = swapped(text, [t for t in tokens if t[0][0] in "-0123456789"], rng.choice(NUMBERS), rng)
        elif kind == 2:
            text = swapped(text, [t for t in tokens if t[0][0] == '"'], f'"{rng.choice(WORDS)}"', rng)
        elif kind == 3:
            at = rng.choice([t.end() for t in tokens if t[0] == "{"] or [0])
            text = f"{text[:at]}{rng.choice(PIECES)},{text[at:]}"
        elif kind == 4:
            text = swapped(text, tokens, rng.choice(["", "[", "]", "{", "}", ",", "null", "0"]), rng)
        elif kind == 5:
            parts = [f'"a-0":{A}', f'"b":{B}', f'"z":{Z}', '"__metadata__":{"format":"np"}']
            rng.shuffle(parts)
            text = f"{{{rng.choice(['', ' '])}{', '.join(parts[: rng.choice((3, 4, 4))])}}}"
        else:
            at = rng.randrange(len(text) + 1)
            text = text[:at] + text[at + rng.randrange(3) :]
    return text.encode("utf-8", "surrogatepass")


def swapped(text: str, tokens: list[re.Match[str]], by: str, rng: random.Random) -> str:
    """One of the tokens replaced."""
    if not tokens:
        return text
    token = rng.choice(tokens)
    return text[: token.start()] + by + text[token.end() :]


def library(path: Path) -> tuple[dict[str, Any], dict[str, str]] | None:
    """What the library reads: type, shape and bytes of each tensor, and the metadata; None: it refuses."""
    try:
        with safe_open(path, "pt") as file:
            return {name: _said(file, name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118  # no mapping
    except SafetensorError:
        return None


def _said(file: Any, name: str) -> Any:
    try:
        tensor: torch.Tensor = file.get_tensor(name)
    except (SafetensorError, RuntimeError, TypeError, AttributeError, OverflowError):
        return None  # a type or shape that torch lacks
    return str(tensor.dtype), tuple(tensor.shape), bits(tensor)


def zoo(path: Path) -> tuple[dict[str, Any], dict[str, str]] | str:
    """The same by zoo, or why it refuses."""
    try:
        header = read_header(path)
    except CheckpointError as error:
        return str(error)
    reader = SafetensorsReader(header.tensors)
    said = {name: (str((t := reader(name)).dtype), tuple(t.shape), bits(t)) for name in header.tensors}
    return said, header.metadata


@pytest.mark.slow
def test_what_the_library_reads_is_read_alike_or_refused_for_a_declared_reason(tmp_path: Path) -> None:
    rng, count, path = random.Random(9), Counter[str](), tmp_path / "x.safetensors"
    for number in range(800):
        text = changed(rng) if number else GOOD.encode()
        data = DATA if rng.random() > 0.1 else DATA[: rng.randrange(12)] + bytes(rng.randrange(12))
        path.write_bytes(struct.pack("<Q", len(text)) + text + data)
        theirs, ours = library(path), zoo(path)
        if isinstance(ours, str):
            assert theirs is None or DECLARED.search(ours), (text, ours)
            count["both refuse" if theirs is None else "only zoo refuses"] += 1
        else:
            assert ours == theirs, text
            count["both read"] += 1
    assert min(count.values()) > 40, count  # each of the three is tried


def test_spaces_before_the_header_and_no_metadata_are_read_as_the_library_reads_them(tmp_path: Path) -> None:
    for text in (
        f" \r\n\t{GOOD}",
        f"{GOOD} \n",
        f'{{"__metadata__":null,"a":{A},"b":{B}}}',
        f'{{"x[-0]":{A},"b":{B}}}',
    ):
        path = tmp_path / "x.safetensors"
        path.write_bytes(struct.pack("<Q", len(text)) + text.encode() + DATA)
        assert zoo(path) == library(path) is not None
