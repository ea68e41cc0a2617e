"""SentencePiece's two kinds: BPE, whose scores stand for the order of merges, and Unigram."""

from __future__ import annotations

import base64
from typing import Any
from warnings import warn

from zoo.errors import ZooWarning
from zoo.text.into_gguf.columns import Columns, steps_of
from zoo.text.reading.gguf import CONTROL, NORMAL, USER_DEFINED
from zoo.text.tokens.merging import are_cut_in_bounds, merges_of

SPACE = "▁"
UNSCORED = -1000.0  # of tokens that no merge makes


def merged_pieces(tree: dict[str, Any], columns: Columns) -> dict[str, Any]:
    """The metadata of BPE with bytes for what it lacks.

    Raises UsageError for merges that are not all ways to make their tokens, in the order of these: llama.cpp merges by
    the score of what comes out, and looks at no list.
    """
    model = tree["model"]
    merges = [tuple(m.split(" ", 1)) if isinstance(m, str) else tuple(m) for m in model["merges"]]
    columns.mark_pieces(model.get("unk_token"))
    order = {token: -float(rank) for rank, token in enumerate(dict.fromkeys(left + right for left, right in merges))}
    scores = [order.get(token, UNSCORED if type_ != NORMAL else -float(len(order))) for token, type_ in
              zip(columns.tokens, columns.types, strict=True)]  # fmt: skip
    typed = zip(columns.tokens, columns.types, scores, strict=True)
    ranks = {token: -score for token, type_, score in typed if type_ in (NORMAL, USER_DEFINED)}
    if not are_cut_in_bounds(columns.tokens):
        raise columns.refuse("its tokens are too long to look for the pairs that make them")
    if merges_of(ranks, {token: index for index, token in enumerate(columns.tokens)}) != merges:
        raise columns.refuse("its merges are not those that the order of its tokens makes")
    for step in steps_of(tree["normalizer"], "normalizers"):
        if step["type"] not in ("Prepend", "Replace") or "Regex" in step.get("pattern", {}):
            raise columns.refuse(f"it takes the step {step['type']} before it merges, which llama.cpp does not")
    return {"model": "llama", "pre": "default", "scores": scores, "add_space_prefix": _has_prefix(tree, columns)}


def unigram_pieces(tree: dict[str, Any], columns: Columns) -> dict[str, Any]:
    """The metadata of Unigram, as T5 has it."""
    model = tree["model"]
    scored = {piece: float(score) for piece, score in model["vocab"]}
    unknown = None if model.get("unk_id") is None else model["vocab"][model["unk_id"]][0]
    columns.mark_pieces(unknown)
    columns.types = [CONTROL if t == USER_DEFINED and columns.tokens[i] == "</s>" else t for i, t in
                     enumerate(columns.types)]  # fmt: skip
    own: dict[str, Any] = {"model": "t5", "pre": "default", "scores": [scored.get(t, 0.0) for t in columns.tokens]}
    steps = steps_of(tree["normalizer"], "normalizers")
    for step in steps:
        if step["type"] == "Precompiled":
            own["precompiled_charsmap"] = base64.b64decode(step["precompiled_charsmap"] or "")
    squeezes = any(step["type"] == "Replace" and step["pattern"] == {"Regex": " {2,}"} for step in steps)
    spaces = steps_of(tree["pre_tokenizer"], "pretokenizers")
    squeezes |= any(step["type"] == "WhitespaceSplit" for step in spaces)
    return own | {"add_space_prefix": _has_prefix(tree, columns), "remove_extra_whitespaces": squeezes}


def _has_prefix(tree: dict[str, Any], columns: Columns) -> bool:
    """Whether a space is put before a text. Raises UsageError for steps that llama.cpp does not take."""
    prefix = False
    for step in (*steps_of(tree["normalizer"], "normalizers"), *steps_of(tree["pre_tokenizer"], "pretokenizers")):
        match step:
            case {"type": "Prepend", "prepend": "▁"}:
                prefix = True
            case {"type": "Metaspace", "replacement": "▁" | " ", "prepend_scheme": scheme}:
                prefix |= scheme != "never"
                if scheme == "first":
                    told = "llama.cpp puts a space after every special token, this tokenizer before the first word only"
                    warn(told, ZooWarning, stacklevel=2)
            case {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}:
                pass
            case {"type": "Precompiled" | "WhitespaceSplit"} | {"type": "Replace", "pattern": {"Regex": " {2,}"}}:
                pass
            case {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious"}:
                pass  # Gemma's: no space is left to split at
            case {"type": "Strip" | "Nmt"}:
                pass
            case _:
                raise columns.refuse(f"its step {step['type']} is none of SentencePiece's")
    return prefix
