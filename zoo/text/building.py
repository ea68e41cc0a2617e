"""A tokenizer.json from a stranger as an object of `tokenizers`: read strictly, held to bounds, and only then built."""

from __future__ import annotations

import json
from typing import Any

from tokenizers import Tokenizer as Backend

from zoo.errors import CheckpointError
from zoo.text.components import KINDS, check_section
from zoo.text.files import TOKENIZER_COST
from zoo.text.limits import Limits, guarded
from zoo.text.vocabulary import check_added, check_model
from zoo.weights.json_file import parse_json

_SMALLEST = {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}


def parse(data: bytes, file: object) -> tuple[Backend, Limits]:
    """The tokenizer, which neither cuts nor pads, and what it may do to a text. Raises CheckpointError."""
    sections, limits = _check(data, file)
    try:
        with guarded(file, "", "is not a tokenizer"):
            backend = Backend.from_buffer(data)
    except CheckpointError as error:
        if section := _guilty(sections):
            with guarded(file, section, "is not one that a tokenizer can have"):
                _build(sections, section)
        raise error from None
    with guarded(file, "", "is not a tokenizer"):
        backend.no_truncation()  # files saved for training carry both, and a prompt must not lose its end
        backend.no_padding()
        if getattr(backend.model, "dropout", None):
            raise CheckpointError(file, "model.dropout", "would give the same text other tokens each time")
    return backend, limits


def _check(data: bytes, file: object) -> tuple[dict[str, Any], Limits]:
    """The small sections and the limits; the rest is let go, for the library needs the memory."""
    tree = parse_json(data, file, max_cost=TOKENIZER_COST, allow_infinity=False)
    effects = {section: check_section(tree, section, file) for section in KINDS}
    growth = effects["normalizer"].growth
    check_model(tree.get("model"), file)
    check_added(tree.get("added_tokens") or [], growth, file)
    patterns = effects["normalizer"].patterns + effects["pre_tokenizer"].patterns
    return {section: tree[section] for section in KINDS if tree.get(section)}, Limits(growth, patterns)


def _guilty(sections: dict[str, Any]) -> str | None:
    """The section that keeps even the smallest tokenizer from being built."""
    for section in sections:
        try:
            with guarded("", "", ""):
                _build(sections, section)
        except CheckpointError:
            return section
    return None


def _build(sections: dict[str, Any], section: str) -> None:
    Backend.from_str(json.dumps({"version": "1.0", "model": _SMALLEST, section: sections[section]}))
