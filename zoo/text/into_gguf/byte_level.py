"""Byte-level BPE: llama.cpp knows splitting rules by name, and a tokenizer's own rule must be one of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from zoo.text.into_gguf.columns import Columns, steps_of
from zoo.text.tokens.splitting import SPLITTINGS, Splitting


def byte_level(tree: dict[str, Any], columns: Columns) -> dict[str, Any]:
    """The metadata. Raises UsageError for a splitting rule that has no name."""
    model = tree["model"]
    if model.get("continuing_subword_prefix") or model.get("end_of_word_suffix") or model.get("dropout"):
        raise columns.refuse("its merges work on words with marks, which llama.cpp does not have")
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    return {"model": "gpt2", "pre": rule_name(tree, columns), "merges": merges}


def rule_name(tree: dict[str, Any], columns: Columns) -> str:
    """What llama.cpp calls the rule by which this tokenizer cuts a text into words."""
    found = rule_of(tree)
    for name, rule in SPLITTINGS.items():
        if found is not None and replace(rule, add_bos=False) == found:
            return name
    raise columns.refuse(
        "its rule for splitting texts is none that zoo knows by llama.cpp's name for it",
        why=f"it is {found}" if found else f"it is {tree['pre_tokenizer']}",
    )


def rule_of(tree: dict[str, Any]) -> Splitting | None:
    """The rule of a tokenizer.json; None for one that no Splitting says."""
    normal = steps_of(tree["normalizer"], "normalizers")
    if any(step["type"] != "NFC" for step in normal):
        return None
    patterns, has_digits, has_bytes = [], False, False
    for step in steps_of(tree["pre_tokenizer"], "pretokenizers"):
        if step["type"] == "Digits" and step["individual_digits"] and not patterns:
            has_digits = True
        elif step["type"] == "Split" and _is_plain(step):
            patterns.append(step["pattern"]["Regex"])
        elif step["type"] == "ByteLevel" and not step["add_prefix_space"] and step["use_regex"] == (not patterns):
            has_bytes = True
        else:
            return None
    if not has_bytes:
        return None
    *before, pattern = patterns or [None]
    whole = bool(tree["model"].get("ignore_merges"))
    flags = {"single_digits": has_digits, "whole_words": whole, "is_normalized": bool(normal)}
    return Splitting(pattern, before=tuple(before), **flags)


def _is_plain(step: dict[str, Any]) -> bool:
    return step["behavior"] == "Isolated" and not step["invert"] and "Regex" in step["pattern"]
