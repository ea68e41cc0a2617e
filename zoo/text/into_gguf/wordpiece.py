"""BERT's WordPiece. llama.cpp marks words that begin, and not those that go on."""

from __future__ import annotations

from typing import Any

from zoo.text.into_gguf.columns import Columns

SPACE = "▁"


def word_pieces(tree: dict[str, Any], columns: Columns) -> dict[str, Any]:
    """The metadata. Raises UsageError for a vocabulary that keeps capitals: llama.cpp lowers all letters."""
    model, normal = tree["model"], tree["normalizer"] or {}
    usual = normal.get("type") == "BertNormalizer" and normal["lowercase"] and normal["strip_accents"] is not False
    if (
        not usual
        or not normal["handle_chinese_chars"]
        or (tree["pre_tokenizer"] or {}).get("type") != "BertPreTokenizer"
    ):
        raise columns.refuse("it does not lower letters and strip accents as BERT's uncased models do")
    if model["continuing_subword_prefix"] != "##":
        raise columns.refuse(f"parts of words begin with {model['continuing_subword_prefix']!r}, not with ##")
    columns.tokens = [marked(token) for token in columns.tokens]
    return {"model": "bert", "pre": "default"}


def marked(token: str) -> str:
    """A token as llama.cpp spells it."""
    if token.startswith("[") and token.endswith("]"):
        return token
    return token[2:] if token.startswith("##") and len(token) > 2 else SPACE + token
