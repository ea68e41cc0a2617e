"""All documents as one array of token ids, and where each of them begins.

Token files are mapped: their pages are read when a row is cut out of them, and may be more than there is memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zoo.errors import UsageError, clean
from zoo.training.corpus.reading import standing_at
from zoo.training.settings import DataSettings

CHUNK = 1 << 24  # tokens that are looked at together
WIDTHS = ("uint8", "uint16", "uint32", "int32", "int64")


@dataclass(frozen=True)
class Corpus:
    """Token ids of all documents, one after the other."""

    ids: np.ndarray[Any, Any]  # [tokens] of any integer type
    starts: np.ndarray[Any, Any]  # [documents + 1] where each begins, and where the last ends
    is_predicted: np.ndarray[Any, Any] | None = None  # [tokens]; None: all are

    @property
    def fingerprint(self) -> str:
        """Tells whether two runs read the same: the number of tokens, and a hash over at most a million of them."""
        step = max(len(self.ids) // (1 << 20), 1)
        seen = np.ascontiguousarray(self.ids[::step], dtype=np.int64)
        return f"{len(self.ids)}-{hashlib.sha256(seen.tobytes()).hexdigest()[:16]}"


def text_corpus(documents: Iterable[Sequence[int]]) -> Corpus:
    """The corpus of documents that are token ids already."""
    parts, starts = [], [0]
    for ids in documents:
        parts.append(np.asarray(ids, dtype=np.int32))
        starts.append(starts[-1] + len(parts[-1]))
    return Corpus(np.concatenate(parts) if parts else np.zeros(0, np.int32), np.asarray(starts, dtype=np.int64))


def token_corpus(files: Sequence[str], settings: DataSettings, *, end: int | None, vocab_size: int) -> Corpus:
    """The corpus of a token file, mapped: .npy, or .bin of `data.token_dtype`; a document ends with the token `end`.

    Raises UsageError for several files, and for a token that the model does not have.
    """
    if len(files) > 1:
        raise UsageError(f"{len(files)} token files", hint="join them to one: each is mapped as a whole")
    file = Path(files[0]).expanduser()
    ids = _mapped(file, settings.token_dtype)
    if not len(ids):
        raise UsageError(f"{file}: no token in it, nothing to learn from")
    starts = [np.zeros(1, np.int64)]
    for at in range(0, len(ids), CHUNK):
        part = np.asarray(ids[at : at + CHUNK])
        if (most := int(part.max())) >= vocab_size or int(part.min()) < 0:
            what = f"{file}: token {most} is not below the model's {vocab_size}"
            raise UsageError(what, hint="is data.token_dtype that of the file, and the tokenizer the model's?")
        if end is not None:
            starts.append(np.flatnonzero(part == end).astype(np.int64) + at + 1)
    found = np.concatenate(starts)
    return Corpus(ids, found if found[-1] == len(ids) else np.append(found, len(ids)))


def _mapped(file: Path, dtype: str) -> np.ndarray[Any, Any]:
    try:
        if file.suffix == ".npy":
            found = np.load(file, mmap_mode="r", allow_pickle=False)
        elif dtype not in WIDTHS:
            raise UsageError(f"data.token_dtype={dtype!r} is not one of {', '.join(WIDTHS)}")
        else:
            found = np.memmap(file, dtype=dtype, mode="r") if file.stat().st_size else np.zeros(0, dtype)
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror or error}") from None
    except ValueError as error:
        raise UsageError(f"{file} is not a token file: {clean(error, 120)}") from None
    if found.ndim != 1 or found.dtype.kind not in "iu":
        raise UsageError(f"{file} holds {found.dtype} {list(found.shape)}", why="expected whole numbers in one row")
    return found


def encoded(texts: Iterable[tuple[str, str]], encode: Callable[[str], list[int]], end: int | None) -> Corpus:
    """The corpus of (place, text): each as the tokenizer writes it, and `end` behind it if it does not put it there."""

    def ids(place: str, text: str) -> list[int]:
        with standing_at(place):
            found = encode(text)
        return found if end is None or found[-1:] == [end] else [*found, end]

    corpus = text_corpus(ids(place, text) for place, text in texts)
    if len(corpus.ids) < 2:
        raise UsageError(f"the data have {len(corpus.ids)} tokens: nothing can be predicted")
    return corpus
