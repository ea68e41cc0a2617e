"""A tokenizer, its chat template and the settings of generation as GGUF metadata: what `gguf` and `export` read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from warnings import warn

from zoo.errors import UsageError, ZooWarning
from zoo.files.json_file import read_json
from zoo.text.export import SAMPLING
from zoo.text.into_gguf.byte_level import byte_level
from zoo.text.into_gguf.columns import Columns
from zoo.text.into_gguf.pieces import merged_pieces, unigram_pieces
from zoo.text.into_gguf.wordpiece import word_pieces
from zoo.text.reading.gguf import ROLES

if TYPE_CHECKING:
    from zoo.files.checkpoint import Checkpoint
    from zoo.text.tokenizer import Tokenizer

PREFIX = "tokenizer.ggml."


def metadata_of(tokenizer: Tokenizer, rows: int) -> dict[str, Any]:
    """The metadata of a tokenizer for an embedding of `rows`.

    Raises UsageError for a kind that llama.cpp does not know, or that it would split in another way.
    """
    tree = json.loads(tokenizer.backend.to_str())
    columns = Columns.of(tokenizer, rows)
    model = tree["model"]
    if model["type"] == "WordPiece":
        own = word_pieces(tree, columns)
    elif model["type"] == "Unigram":
        own = unigram_pieces(tree, columns)
    elif model["type"] == "BPE" and model.get("byte_fallback"):
        own = merged_pieces(tree, columns)
    elif model["type"] == "BPE":
        own = byte_level(tree, columns)
    else:
        raise UsageError(f"{tokenizer.file}: llama.cpp has no tokenizer of the kind {model['type']}")
    ids = {theirs: tokenizer.token_to_id(tokenizer.special_tokens.get(role, "")) for role, theirs in ROLES.items()}
    if model["type"] == "WordPiece":
        ids["bos_token_id"] = ids["cls_token_id"]  # what llama.cpp begins a text of BERT with
    own |= {"tokens": columns.tokens, "token_type": columns.types}
    own |= {name: index for name, index in ids.items() if index is not None} | _framed(tokenizer)
    templates = {
        "tokenizer.chat_template" + ("" if name == "default" else f".{name}"): text
        for name, text in tokenizer.chat_templates.items()
    }
    return {PREFIX + name: value for name, value in own.items()} | templates


def settings_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """What generation_config.json says of sampling, as llama.cpp names it; a GGUF file's own is handed on."""
    if checkpoint.dialect == "gguf":
        return {key: value for key, value in checkpoint.config.items() if key.startswith("general.sampling.")}
    file = checkpoint.folder / "generation_config.json"
    raw = read_json(file) if file.is_file() else {}
    if raw.get("do_sample") is not True:
        return {}
    given = {theirs: raw.get(ours) for theirs, ours in SAMPLING.items()}
    numbers = {t: v for t, v in given.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    return {f"general.sampling.{t}": int(v) if t == "top_k" else float(v) for t, v in numbers.items()}


def _framed(tokenizer: Tokenizer) -> dict[str, bool]:
    """Whether texts begin and end with special tokens; others than the usual ones are told."""
    ids, bare = tokenizer.encode("a"), tokenizer.encode("a", add_special_tokens=False)
    start = next((i for i in range(len(ids) - len(bare) + 1) if ids[i : i + len(bare)] == bare), 0)
    before, after = ids[:start], ids[start + len(bare) :]
    begins = [tokenizer.token_to_id(tokenizer.special_tokens.get(r, "")) for r in ("bos_token", "cls_token")]
    ends = [tokenizer.token_to_id(tokenizer.special_tokens.get(r, "")) for r in ("eos_token", "sep_token")]
    if (before and before[0] not in begins) or len(before) > 1 or (after and after[0] not in ends) or len(after) > 1:
        around = [*before, "...", *after]
        warn(f"texts stand between the tokens {around}, which llama.cpp does not add", ZooWarning, stacklevel=2)
        return {"add_bos_token": False, "add_eos_token": False}
    if tokenizer.special_tokens.get("bos_token") is None and not before:
        return {"add_bos_token": False, "add_eos_token": bool(after)}
    return {"add_bos_token": bool(before), "add_eos_token": bool(after)}
