"""Sections of a tokenizer.json that several kinds have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BYTE_DECODER = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}


def bpe(vocab: Mapping[str, int], merges: list[Any], **options: Any) -> dict[str, Any]:
    """A BPE model."""
    plain = {"dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None}
    flags = {"fuse_unk": False, "byte_fallback": False, "ignore_merges": False}
    return {"type": "BPE", **plain, **flags, **options, "vocab": vocab, "merges": merges}


def sequence(kind: str, *steps: dict[str, Any]) -> dict[str, Any]:
    """Steps one after the other, under the key that this kind of section has for them."""
    return {"type": "Sequence", kind: list(steps)}


def replace(old: str, new: str) -> dict[str, Any]:
    """A text put in another's place."""
    return {"type": "Replace", "pattern": {"String": old}, "content": new}


def byte_level(pattern: str | None = None, add_prefix_space: bool = False) -> dict[str, Any]:
    """Words cut by `pattern`, or by GPT-2's rule, and spelt in letters that stand for bytes."""
    letters = {"type": "ByteLevel", "add_prefix_space": add_prefix_space, "trim_offsets": True}
    if pattern is None:
        return letters | {"use_regex": True}
    return sequence("pretokenizers", split(pattern), letters | {"use_regex": False})


def split(pattern: str, *, behavior: str = "Isolated", invert: bool = False) -> dict[str, Any]:
    """Words as a regular expression finds them."""
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": invert}
