"""Characters that are written out as tokens before a tokenizer sees the text: ChatGLM-6B's lines, tabs and spaces."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Spelling:
    """What `pattern` finds is written as `words` say, and read back from there."""

    pattern: str
    words: Mapping[str, str]

    def written(self, text: str) -> tuple[str, list[int]]:
        """The text as the tokenizer takes it, and for each of its characters, and its end, the place in `text`."""
        parts: list[str] = []
        places: list[int] = []
        end = 0
        for found in re.finditer(self.pattern, text):
            word = self.words[found[0]]
            parts += [text[end : found.start()], word]
            places += [*range(end, found.start()), *[found.start()] * len(word)]
            end = found.end()
        parts.append(text[end:])
        return "".join(parts), [*places, *range(end, len(text) + 1)]

    def read(self, text: str) -> str:
        """What `written` took."""
        letters = {word: found for found, word in self.words.items()}
        return re.sub("|".join(map(re.escape, letters)), lambda match: letters[match[0]], text)
