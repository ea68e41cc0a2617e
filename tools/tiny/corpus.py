"""The text of `tiny`: Jane Austen's six novels, in the public domain, from Debian's package r-cran-janeaustenr.

    python tools/tiny/corpus.py DATA                     # fetches the package with apt-get download
    python tools/tiny/corpus.py DATA --text FILE.deb     # the package, or the Rdata.rdb inside it, from disk

writes DATA/train.jsonl and DATA/validation.jsonl, a chapter a line, and DATA/sample.txt, the test text: 4 MB in all.
The package keeps each novel as one R character vector, a string per line. What comes out is chapters: one string each,
one line per paragraph, split by chapter into training, validation and test text so that no chapter is in two of them.
"""

from __future__ import annotations

import argparse
import json
import re
import struct
import subprocess
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "r-cran-janeaustenr"

_HEADING = re.compile(r"(?i)(volume|chapter) (\d+|[ivxl]+)")
_END = re.compile(r"(?i)finis|the end|a note on the text")


def main() -> None:
    """Write the text as the recipe reads it."""
    parser = argparse.ArgumentParser(description="Write the text of tiny.")
    parser.add_argument("data", type=Path, help="the folder that takes it")
    parser.add_argument("--text", type=Path, help="the Debian package, or the Rdata.rdb inside it")
    arguments = parser.parse_args()
    corpus = read_corpus(arguments.text)
    arguments.data.mkdir(parents=True, exist_ok=True)
    write_chapters(arguments.data / "train.jsonl", corpus.train)
    write_chapters(arguments.data / "validation.jsonl", corpus.validation)
    (arguments.data / "sample.txt").write_text("".join(corpus.test), encoding="utf-8")


def write_chapters(file: Path, chapters: Iterable[str]) -> None:
    """A chapter a line."""
    file.write_text("".join(json.dumps({"text": chapter}) + "\n" for chapter in chapters), encoding="utf-8")


def read_chapters(file: Path) -> tuple[str, ...]:
    """What was written."""
    return tuple(json.loads(line)["text"] for line in file.read_text(encoding="utf-8").splitlines())


@dataclass(frozen=True)
class Corpus:
    """Chapters by what they are for."""

    train: tuple[str, ...]
    validation: tuple[str, ...]  # decides when training stops
    test: tuple[str, ...]  # seen by nothing but the number on the card


def read_corpus(source: Path | None = None) -> Corpus:
    """The split text, from the package's .deb or its Rdata.rdb at `source`; None downloads the package with apt-get."""
    with tempfile.TemporaryDirectory() as folder:
        data = source
        if data is None:
            data = _download(Path(folder))
        if data.suffix == ".deb":
            data = _unpack(data, Path(folder))
        return split([chapters(lines) for lines in _vectors(data.read_bytes())])


def split(novels: list[list[str]]) -> Corpus:
    """Hold out three neighbouring chapters, three fifths into each novel: the middle one is the test.

    So the test text touches no training text: a validation chapter lies on either side of it.
    """
    train: list[str] = []
    validation: list[str] = []
    test: list[str] = []
    for novel in novels:
        start = len(novel) * 3 // 5
        train += novel[:start] + novel[start + 3 :]
        validation += [novel[start], novel[start + 2]]
        test.append(novel[start + 1])
    return Corpus(tuple(train), tuple(validation), tuple(test))


def chapters(lines: list[str]) -> list[str]:
    """The chapters among a novel's lines, without title page, headings and notes, one line per paragraph."""
    text: list[str] = []
    paragraph: list[str] = []
    for line in [*map(str.strip, lines), ""]:
        if _END.fullmatch(line):
            break
        if _HEADING.fullmatch(line):
            text.append("")  # a volume's heading leaves an empty chapter before its first one: dropped below
        elif line:
            paragraph.append(line)
        elif paragraph:
            if text:  # else it is the title page
                text[-1] += " ".join(" ".join(paragraph).replace("_", "").split()) + "\n"
            paragraph = []
    return [chapter for chapter in text if chapter]


def _download(folder: Path) -> Path:
    subprocess.run(["apt-get", "download", PACKAGE], cwd=folder, check=True)
    return next(folder.glob("*.deb"))


def _unpack(package: Path, folder: Path) -> Path:
    subprocess.run(["dpkg-deb", "-x", package, folder], check=True)
    return next(folder.glob("**/janeaustenr/data/Rdata.rdb"))


def _vectors(data: bytes) -> Iterator[list[str]]:
    """The character vectors of an R lazy-load database: each a big-endian length and a zlib stream."""
    while data:
        stream = zlib.decompressobj()
        value = stream.decompress(data[4:])
        data = stream.unused_data
        yield _strings(value)


def _strings(value: bytes) -> list[str]:
    """A character vector in R's serialization, format 3, big-endian ("R Internals", section 1.8)."""
    (encoding_length,) = struct.unpack_from(">i", value, 14)
    at = 18 + encoding_length
    kind, count = struct.unpack_from(">ii", value, at)
    if value[:2] != b"X\n" or kind != 16:
        raise ValueError(f"not a character vector in R's binary serialization: type {kind}")
    strings, at = [], at + 8
    for _ in range(count):
        _flags, length = struct.unpack_from(">ii", value, at)
        strings.append(value[at + 8 : at + 8 + length].decode())
        at += 8 + length
    return strings


if __name__ == "__main__":
    main()
