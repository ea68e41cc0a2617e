"""Data files as records: texts and JSON objects, each with the place that an error names."""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from zoo.errors import MissingExtra, UsageError, clean, some
from zoo.training.settings import DataSettings

TOKEN_FILES = (".npy", ".bin")
TABLES = (".parquet", ".arrow", ".csv")
HALF = re.compile(r"\\u[dD][89a-fA-F]")  # an escape of half a pair of UTF-16; of most the other half stands beside it


@dataclass(frozen=True)
class Record:
    """One text or one JSON object, and where it stands: FILE, or FILE: line N."""

    place: str
    values: dict[str, Any]
    folder: Path = Path()  # of the file, which names of pictures are relative to

    def text(self, field: str, *, row: str = "") -> str:
        """The text in a field. Raises UsageError where there is none, with what a `row` is where it is known."""
        found = self.values.get(field)
        if not isinstance(found, str):
            what = (
                f"{self.place} has no text in {field!r}" if found is None else f"{self.place}: {field!r} is not a text"
            )
            has = some([clean(key) for key in self.values], 6) or "nothing"
            raise UsageError(what, why=f"it has: {has}", hint=self._advice(row))
        return found

    def tools(self) -> list[dict[str, Any]] | None:
        """The tools that a conversation's template is told of. Raises UsageError for what is no list of objects."""
        found = self.values.get("tools")
        if found and not (isinstance(found, list) and all(isinstance(tool, dict) for tool in found)):
            raise UsageError(f"{self.place}: tools are not a list of objects")
        return found or None

    def picture(self, name: str) -> Path:
        """The file of a picture that the row names. Raises UsageError where there is none."""
        if not (path := self.folder / name).is_file():
            raise UsageError(f"{self.place}: there is no picture {clean(str(path), 200)}")
        return path

    def _advice(self, row: str) -> str:
        if row:
            return f"give rows such as {row}"
        named = "name the field: data.field=NAME"
        return f"conversations are for objective=sft; or {named}" if "messages" in self.values else named


@contextmanager
def standing_at(place: str) -> Iterator[None]:
    """For as long as this lasts, what is refused says where it stands."""
    try:
        yield
    except UsageError as error:
        what = error.what if error.what.startswith(place) else f"{place}: {error.what}"
        raise UsageError(what, why=error.why, hint=error.hint) from None


def read_records(files: Sequence[str], settings: DataSettings) -> Iterator[Record]:
    """The records of text files, .jsonl files and, through `datasets`, tables and folders that it saved.

    Raises UsageError, with file and line, for what cannot be read, and where there is nothing.
    """
    is_empty = True
    for name in files:
        for record in _records(Path(name).expanduser(), settings):
            is_empty = False
            yield record
    if is_empty:
        raise UsageError(f"{some(list(files))}: no text in it, nothing to learn from")


def _records(file: Path, settings: DataSettings) -> Iterator[Record]:
    suffix = file.suffix.lower()
    if suffix in TABLES or (file.is_dir() and (file / "dataset_info.json").exists()):
        return _table(file)
    if file.is_dir():
        raise UsageError(f"{file} is a folder", hint="name its files: data='[a.txt,b.txt]'")
    if suffix == ".json":
        raise UsageError(f"{file} is JSON, not a text", hint="give a .jsonl file, of one object a line")
    if suffix in TOKEN_FILES:
        raise UsageError(f"{file} holds tokens, and this objective reads texts", hint="give a .txt or .jsonl file")
    return _lines(file) if suffix in (".jsonl", ".ndjson") else _texts(file, settings)


def _texts(file: Path, settings: DataSettings) -> Iterator[Record]:
    text = _decoded(file, _bytes(file).removeprefix(BOM_UTF8))
    parts = [text] if settings.separator is None else text.split(settings.separator)
    for number, part in enumerate(parts, 1):
        if part.strip():
            yield Record(
                str(file) if len(parts) == 1 else f"{file}: document {number}", {settings.field: part}, file.parent
            )


def _lines(file: Path) -> Iterator[Record]:
    try:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                place = f"{file}: line {number}"
                if text := _decoded(place, line.removeprefix(BOM_UTF8) if number == 1 else line).strip():
                    yield Record(place, _parsed(place, text), file.parent)
    except OSError as error:
        raise _unreadable(file, error) from None


def _parsed(place: str, text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{place} is not JSON: {clean(error, 120)}", why=f"it begins {clean(text[:60])!r}") from None
    if not isinstance(found, dict):
        raise UsageError(f"{place} is not a JSON object", why='expected {"text": "…"} or what the objective reads')
    if HALF.search(text):
        _check_whole(place, found)
    return found


def _check_whole(place: str, values: Any) -> None:
    """Raise UsageError for half of a pair of UTF-16, which no text has and JSON can spell."""
    try:
        json.dumps(values, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = ascii(error.object[error.start])[1:-1]
        raise UsageError(f"{place}: {half} is half of a character", why="no text can be written with it") from None


def _table(file: Path) -> Iterator[Record]:
    if find_spec("datasets") is None:
        raise MissingExtra("datasets", "data", f"{file}: reading it")
    datasets: Any = import_module("datasets")
    kinds = {".parquet": "parquet", ".arrow": "arrow", ".csv": "csv"}
    try:
        if file.is_dir():
            found = datasets.load_from_disk(str(file))
        else:
            found = datasets.load_dataset(kinds[file.suffix.lower()], data_files=str(file), split="train")
    except Exception as error:  # a third party's reader: whatever it raises, the file is what it cannot read
        raise UsageError(f"{file}: `datasets` cannot read it: {clean(error, 200)}") from None
    if not isinstance(found, datasets.Dataset):
        raise UsageError(f"{file} has several parts: {some([*map(str, found)], 6)}", hint="save the one that you want")
    for number, values in enumerate(found, 1):
        yield Record(f"{file}: row {number}", dict(values), file.parent)


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise _unreadable(file, error) from None


def _unreadable(file: Path, error: OSError) -> UsageError:
    return UsageError(f"{file}: {error.strerror or error}", hint="data=FILE names what is trained on")


def _decoded(place: object, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"{place}: byte {error.start} is not UTF-8") from None
