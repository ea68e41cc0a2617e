"""A tokenizer as the files of a Hugging Face folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from zoo.text.tokenizer import Tokenizer

MORE_ENDS = ("eot_token_id", "eom_token_id")  # of GGUF: a turn of a conversation, a message within one
SAMPLING = {
    "temp": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "penalty_repeat": "repetition_penalty",
}


def folder_files(tokenizer: Tokenizer) -> dict[str, bytes]:
    """tokenizer.json, tokenizer_config.json and chat_template.jinja that make this tokenizer again."""
    config: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", **tokenizer.special_tokens}
    templates = dict(tokenizer.chat_templates)
    files = {"tokenizer.json": tokenizer.backend.to_str(pretty=True).encode()}
    if (usual := templates.pop("default", None)) is not None:
        files["chat_template.jinja"] = usual.encode()
    if templates:
        config["chat_template"] = [{"name": name, "template": text} for name, text in templates.items()]
    return files | {"tokenizer_config.json": _json(config)}


def gguf_files(metadata: Mapping[str, Any], file: object) -> dict[str, bytes]:
    """What GGUF metadata says of tokenizer and generation, as files. Raises CheckpointError as `from_gguf` does."""
    tokenizer = Tokenizer.from_gguf(metadata, file)
    ids = {"bos_token_id": tokenizer.bos_token_id, "pad_token_id": _pad(tokenizer)}
    listed = [tokenizer.eos_token_id, *(metadata.get(f"tokenizer.ggml.{key}") for key in MORE_ENDS)]
    ends = [index for index in dict.fromkeys(listed) if isinstance(index, int)]
    settings: dict[str, Any] = {key: index for key, index in ids.items() if index is not None}
    if ends:
        settings["eos_token_id"] = ends[0] if len(ends) == 1 else ends
    given = {ours: metadata.get(f"general.sampling.{theirs}") for theirs, ours in SAMPLING.items()}
    chosen = {name: value for name, value in given.items() if isinstance(value, int | float)}
    if chosen:
        settings |= {"do_sample": chosen.get("temperature") != 0} | _rounded(chosen)
    return folder_files(tokenizer) | {"generation_config.json": _json(settings)}


def _rounded(values: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers of 32 bits as people write them."""
    return {name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in values.items()}


def _pad(tokenizer: Tokenizer) -> int | None:
    return tokenizer.token_to_id(tokenizer.special_tokens.get("pad_token", ""))


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
