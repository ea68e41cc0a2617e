"""Texts in small letters before a tokenizer sees them, where its files name a class that makes them so: SigLIP's.

The class of SigLIP also takes all punctuation out. That of SigLIP 2 lowers letters alone, and as `tokenizers` does, one
by one; the released files of its models of one resolution name Gemma's class instead, and say do_lower_case.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer as Backend
from tokenizers import normalizers

PLAIN = "SiglipTokenizer"


@dataclass(frozen=True)
class PlainWords:
    """Small letters, no punctuation, and one space between words; its interface is that of `Spelling`."""

    is_lower: bool = True

    def written(self, text: str) -> tuple[str, list[int]]:
        """The text as the tokenizer takes it, and for each of its characters, and its end, the place in `text`."""
        lowered, places = text, list(range(len(text)))
        if self.is_lower:  # a letter may become two
            lowered, places = text.lower(), [i for i, letter in enumerate(text) for _ in letter.lower()]
        kept = [(c, at) for c, at in zip(lowered, places, strict=True) if c not in string.punctuation]
        words = "".join(c for c, _ in kept)
        begin, end = len(words) - len(words.lstrip()), len(words.rstrip())
        found = [m.start() for m in re.finditer(r"\s+|\S", words) if begin <= m.start() < end]
        out = "".join(" " if words[i].isspace() else words[i] for i in found)
        return out, [*(kept[i][1] for i in found), len(text)]

    def read(self, text: str) -> str:
        """What was taken out is not known any more."""
        return text


def plain_words(config: Mapping[str, Any], tokenizer_class: str, model_type: str) -> PlainWords | None:
    """What SigLIP's class does to a text; None where another class reads it."""
    if tokenizer_class != PLAIN and (tokenizer_class or not model_type.startswith("siglip")):
        return None
    return None if model_type.startswith("siglip2") else PlainWords(bool(config.get("do_lower_case", True)))


def lower(backend: Backend, config: Mapping[str, Any], tokenizer_class: str, model_type: str) -> None:
    """Let the backend lower letters first, where SigLIP 2 reads the texts."""
    is_told = model_type.startswith("siglip") and config.get("do_lower_case") is True and tokenizer_class != PLAIN
    if tokenizer_class == "Siglip2Tokenizer" or model_type.startswith("siglip2") or is_told:
        steps = [normalizers.Lowercase(), *([backend.normalizer] if backend.normalizer is not None else [])]
        backend.normalizer = normalizers.Sequence(steps)
