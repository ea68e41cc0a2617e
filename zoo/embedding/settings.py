"""What a folder of sentence-transformers says of texts: how long, in which letters, behind which prompt. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo.errors import CheckpointError, clean
from zoo.files.json_file import read_json
from zoo.hub.listing import OF_THE_TRANSFORMER

ARGUMENTS = ("model", "tokenizer", "processor", "config")  # what is handed on, as model_args or model_kwargs
HARMLESS = {"trust_remote_code", "attn_implementation", "padding_side", "use_fast", "torch_dtype", "dtype"}
ONLY: dict[str, Any] = {  # what zoo computes, where a folder says it
    "transformer_task": "feature-extraction", "module_output_name": "token_embeddings", "query_length": None,
    "document_length": None, "query_expansion": None,
}  # fmt: skip
FORWARD = {"method": "forward", "method_output_name": "last_hidden_state"}
VECTORS = "SentenceTransformer"


def limits_of(home: Path) -> tuple[int | None, bool]:
    """The tokens that are read of a text, and whether its letters are made small first. Raises CheckpointError."""
    file = next((at for name in OF_THE_TRANSFORMER if (at := home / name).is_file()), home / OF_THE_TRANSFORMER[0])
    raw = dict(read_json(file)) if file.is_file() else {}
    longest, is_lower = raw.pop("max_seq_length", None), raw.pop("do_lower_case", False)
    _check(file, raw)
    if longest is None and (settings := home / "tokenizer_config.json").is_file():
        found = read_json(settings).get("model_max_length")
        longest = found if isinstance(found, int) and found < 1 << 30 else None
    if not isinstance(longest, int | None) or not isinstance(is_lower, bool):
        raise CheckpointError(file, "max_seq_length", f"{clean(repr(longest))} is not a number of tokens")
    return longest, is_lower


def _check(file: Path, raw: dict[str, Any]) -> None:
    """Refuse what would make other vectors: arguments for the model or its tokenizer, other outputs, unknown keys."""
    raw.pop("unpad_inputs", None)
    for name, value in ONLY.items():
        if raw.pop(name, value) != value:
            raise CheckpointError(file, name, f"zoo knows {value!r} only")
    read_by = raw.pop("modality_config", {"text": FORWARD})
    if not isinstance(read_by, Mapping) or read_by.get("text") != FORWARD:
        raise CheckpointError(file, "modality_config", f"zoo reads texts by {FORWARD} only")
    for name in [f"{kind}_{end}" for kind in ARGUMENTS for end in ("args", "kwargs")]:
        given = raw.pop(name, None) or {}
        if not isinstance(given, Mapping) or given.keys() - HARMLESS:
            what = f"{clean(repr(given))} would change the model or its tokenizer, and zoo hands nothing on"
            raise CheckpointError(file, name, what)
    if raw.pop("processing_kwargs", None) or raw:
        raise CheckpointError(file, next(iter(raw), "processing_kwargs"), "the key is not known to zoo's embeddings")


def prompts_of(folder: Path) -> tuple[dict[str, str], str | None]:
    """What may stand before texts, and which of it does unless another is asked for. Raises CheckpointError."""
    file = folder / "config_sentence_transformers.json"
    raw = read_json(file) if file.is_file() else {}
    if raw.get("model_type", VECTORS) != VECTORS:
        raise CheckpointError(file, "model_type", f"{clean(repr(raw['model_type']))} is not {VECTORS}")
    if raw.get("truncate_dim") is not None:
        raise CheckpointError(file, "truncate_dim", "zoo gives whole vectors", why="remove the key, and cut them")
    prompts, default = raw.get("prompts") or {}, raw.get("default_prompt_name")
    is_table = isinstance(prompts, dict) and all(isinstance(text, str) for text in prompts.values())
    if not is_table or (default is not None and default not in prompts):
        raise CheckpointError(file, "prompts", "is not a table of texts in which the default one is")
    return prompts, default
