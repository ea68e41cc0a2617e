"""A tokenizer.json from a stranger as an object of `tokenizers`: read strictly, held to bounds, and only then built."""

from __future__ import annotations

import json
from typing import Any

from tokenizers import Tokenizer as Backend

from zoo.errors import CheckpointError, clean
from zoo.files.json_file import parse_json
from zoo.text.bounds.components import KINDS, check_section
from zoo.text.bounds.limits import Limits, guarded, is_of_library
from zoo.text.bounds.vocabulary import check_added, check_model
from zoo.text.files import TOKENIZER_COST

MAX_VALUES = 1_900_000  # 262,144 tokens with all merges have 1.3 million
_SMALLEST = {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}


def parse(data: bytes, file: object) -> tuple[Backend, Limits]:
    """The tokenizer, which neither cuts nor pads, and what it may do to a text. Raises CheckpointError."""
    sections, limits = _check(data, file)
    backend = _built(data, sections, file)
    with guarded(file, "", "is not a tokenizer"):
        backend.no_truncation()  # files saved for training carry both, and a prompt must not lose its end
        backend.no_padding()
        if getattr(backend.model, "dropout", None):
            raise CheckpointError(file, "model.dropout", "would give different tokens for the same text each time")
    return backend, limits


def _built(data: bytes, sections: dict[str, Any], file: object) -> Backend:
    """The library's object, or a CheckpointError that names the section which keeps it from being built."""
    try:
        return Backend.from_buffer(data)
    except BaseException as error:
        if not is_of_library(error):
            raise
        broken = error
    for section in sections:
        with guarded(file, section, "is not a form that the tokenizers library accepts"):
            needed = {name: sections[name] for name in ("normalizer", section) if name in sections}  # as tokens need it
            Backend.from_str(json.dumps({"version": "1.0", "model": _SMALLEST} | needed))
    raise CheckpointError(file, "model", f"is not a form that the tokenizers library accepts: {clean(broken)}")


def _check(data: bytes, file: object) -> tuple[dict[str, Any], Limits]:
    """The small sections and the limits; the rest is let go, for the library needs the memory."""
    if data.count(b",") > MAX_VALUES:
        raise CheckpointError(file, "", f"has more than {MAX_VALUES:,} values")
    tree = parse_json(data, file, max_cost=TOKENIZER_COST, allow_infinity=False)
    effects = {section: check_section(tree, section, file) for section in KINDS}
    growth = effects["normalizer"].growth
    check_model(tree.get("model"), file)
    check_added(tree.get("added_tokens") or [], growth, file)
    patterns = effects["normalizer"].patterns + effects["pre_tokenizer"].patterns
    sections = {section: tree[section] for section in (*KINDS, "added_tokens") if tree.get(section)}
    return sections, Limits(growth, patterns)
