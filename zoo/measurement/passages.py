"""A text as a model reads it: tokens with their places in the text, cut into windows.

Counts are tokens unless they say bytes or characters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from zoo.errors import UsageError, ZooError
from zoo.text import Tokenizer

SAMPLE = "sample"  # the text in the box


@dataclass(frozen=True)
class Passage:
    """A text's tokens; those before `first` are read and not predicted."""

    text: str
    ids: list[int]
    offsets: list[tuple[int, int]]  # of each token: where in the text it begins and ends, in characters
    first: int  # 1 at least: nothing predicts the first token of all
    has_bos: bool  # the tokens before `first` are those that the tokenizer puts before every text

    @property
    def num_scored(self) -> int:
        """Tokens that are predicted."""
        return len(self.ids) - self.first

    @property
    def num_bytes(self) -> int:
        """Bytes in UTF-8 of what is predicted."""
        return len(self.text[self.offsets[self.first][0] :].encode())


@dataclass(frozen=True)
class Window:
    """Inputs [start, end) of a passage; the predictions from `scored` on are taken, those before only give context."""

    start: int
    end: int
    scored: int


def read_text(name: str | Path) -> str:
    """The text of a file in UTF-8, or of the one in the box (`sample`). Raises UsageError for what is no text."""
    if name == SAMPLE and not Path(name).exists():
        return (files("zoo") / "box" / "sample.txt").read_text(encoding="utf-8")
    try:
        return Path(name).read_bytes().decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"{name}: byte {error.start} is not UTF-8") from None
    except OSError as error:
        hint = "type sample for the text in the box, or the name of a file"
        raise UsageError(f"{name}: {error.strerror or error}", hint=hint) from None


def encode(tokenizer: Tokenizer, text: str) -> Passage:
    """The text's own tokens, after what the tokenizer puts before every text; what it puts behind is left out.

    Where it puts nothing before, the first token of the text is context. Raises UsageError for a text too short.
    """
    found = tokenizer.encode_with_offsets(text)
    added, ids = found.special_tokens_mask, found.ids
    begin = next((i for i, is_added in enumerate(added) if not is_added), len(ids))
    end = next((i for i in range(len(ids), begin, -1) if not added[i - 1]), begin)
    first = max(begin, 1)
    if end <= first:
        raise UsageError("the text is too short: nothing can be predicted", why=f"it has {end - begin} tokens")
    return Passage(text, ids[:end], found.offsets[:end], first, begin > 0)


def windows(passage: Passage, size: int, stride: int) -> Iterator[Window]:
    """Windows of at most `size` inputs, each `stride` further on; every token after the first is predicted once.

    With stride == size a window is blind to the one before it; with less, each prediction but those of the first window
    has at least size - stride tokens before it.
    """
    num_inputs = len(passage.ids) - 1  # nothing follows the last token
    scored = passage.first - 1
    for start in range(0, num_inputs, stride):
        end = min(start + size, num_inputs)
        if end > scored:
            yield Window(start, end, scored)
            scored = end
        if end == num_inputs:
            return


def check_window(size: int, stride: int, passage: Passage) -> None:
    """Raise UsageError for windows that leave tokens out or give them nothing to go by."""
    if not 1 <= stride <= size:
        raise UsageError(f"stride={stride} is not between 1 and the window of {size} tokens")
    if size < passage.first:
        raise ZooError(
            f"a window of {size} tokens is smaller than the {passage.first} tokens at the start of every text"
        )
