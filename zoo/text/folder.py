"""The tokenizer of a Hugging Face folder: tokenizer.json with what tokenizer_config.json adds to it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tokenizers import AddedToken
from tokenizers import Tokenizer as Backend

from zoo.errors import CheckpointError, clean
from zoo.files.regular import read_bounded
from zoo.text.building import parse
from zoo.text.files import TEMPLATE_BYTES, TOKENIZER_BYTES, read_json, read_text
from zoo.text.limits import Limits, guarded
from zoo.text.source import TokenizerSource, check_known, frame
from zoo.text.vocabulary import check_added

ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
FLAGS = ("lstrip", "normalized", "rstrip", "single_word", "special")
OBEYING = {
    f"{name}Tokenizer{kind}" for name in ("Llama", "CodeLlama", "Gemma", "Cohere") for kind in ("", "Fast")
}  # classes that took add_bos_token from the config
OLDER = ("tokenizer.model", "vocab.json", "vocab.txt", "tekken.json", "qwen.tiktoken", "ice_text.model")


def read_folder(folder: Path) -> TokenizerSource:
    """What the files of `folder` say; see `Tokenizer.from_folder`."""
    file, config_file = folder / "tokenizer.json", folder / "tokenizer_config.json"
    if not file.exists():
        older = next((name for name in OLDER if (folder / name).exists()), None)
        hint = (
            "text needs the tokenizer that the weights were trained with; zoo.generate in Python also takes token ids"
        )
        if older:
            hint = f"it has {older}: save it with transformers' AutoTokenizer, which writes tokenizer.json"
        raise CheckpointError(file, "", "is not there", hint=hint)
    backend, limits = parse(read_bounded(file, TOKENIZER_BYTES), file)
    config = read_json(config_file)
    with guarded(config_file, "", "does not fit tokenizer.json"):
        tokens = _roles(read_json(folder / "special_tokens_map.json"), folder / "special_tokens_map.json")
        tokens |= _roles(config, config_file)
        _add_tokens(backend, config.get("added_tokens_decoder") or {}, limits, config_file)
        check_known(backend, tokens, config_file)
        _mark_special(backend, list(tokens.values()) + _extra(backend, config, config_file), config_file)
        if config.get("split_special_tokens"):
            backend.encode_special_tokens = True
        notes = _frame(backend, config, tokens, config_file)
    templates, files = _chat_templates(folder, config, config_file)
    return TokenizerSource(backend, file, tokens, templates, notes, limits, files)


def _roles(config: dict[str, Any], file: Path) -> dict[str, str]:
    found = {}
    for role in ROLES:
        value = config.get(role)
        token = value.get("content") if isinstance(value, dict) else value
        if token is None:
            continue
        if not isinstance(token, str) or not token:
            raise CheckpointError(file, role, f"{clean(repr(value))} is not a token")
        found[role] = token
    return found


def _add_tokens(backend: Backend, wanted: Any, limits: Limits, file: Path) -> None:
    """Tokens that only tokenizer_config.json lists, or lists with other flags; their ids must come out as it says."""
    if not isinstance(wanted, dict):
        raise CheckpointError(file, "added_tokens_decoder", "is not an object of ids and tokens")
    listed: dict[int, AddedToken] = {}
    for key, value in sorted(wanted.items(), key=lambda pair: (len(pair[0]), pair[0])):
        content = value.get("content") if isinstance(value, dict) else value
        if not isinstance(content, str) or not content or not re.fullmatch("0|[1-9][0-9]{0,6}", key):
            item = f"added_tokens_decoder.{clean(key)}"
            raise CheckpointError(file, item, f"{clean(repr(value))} is not a token")
        flags = {flag: bool(value[flag]) for flag in FLAGS if isinstance(value, dict) and flag in value}
        listed[int(key)] = AddedToken(content, **flags)
    check_added(list(wanted.values()), limits.growth, file, "added_tokens_decoder")
    if listed:  # all at once: the library builds its search anew with every call
        backend.add_tokens(list(listed.values()))
    for wanted_index, token in listed.items():
        if (index := backend.token_to_id(token.content)) != wanted_index:
            what = f"{clean(token.content)!r} is token {index} of tokenizer.json"
            raise CheckpointError(file, f"added_tokens_decoder.{wanted_index}", what)


def _extra(backend: Backend, config: dict[str, Any], file: Path) -> list[str]:
    tokens: list[str] = []
    for key in ("additional_special_tokens", "extra_special_tokens"):
        listed = config.get(key) or []
        if not isinstance(listed, dict | list):
            raise CheckpointError(file, key, f"{clean(repr(listed))} is not a list of tokens")
        for value in listed.values() if isinstance(listed, dict) else listed:
            content = value.get("content") if isinstance(value, dict) else value
            if not isinstance(content, str) or not content:
                raise CheckpointError(file, key, f"{clean(repr(value))} is not a token")
            check_known(backend, {key: content}, file)
            tokens.append(content)
    return tokens


def _mark_special(backend: Backend, tokens: list[str], file: Path) -> None:
    """Let special tokens be found whole in a text, as transformers does where tokenizer.json does not say so."""
    added = {token.content for token in backend.get_added_tokens_decoder().values()}
    fresh = [token for token in dict.fromkeys(tokens) if token not in added]
    check_added(fresh, 1, file, "additional_special_tokens")
    if fresh:
        backend.add_special_tokens(fresh)


def _frame(backend: Backend, config: dict[str, Any], tokens: dict[str, str], file: Path) -> list[str]:
    """Follow add_bos_token and add_eos_token, and tell where tokenizer.json says something else.

    The classes named OBEYING did so when their checkpoints were released; transformers 5 no longer does, and drops the
    begin token of those whose tokenizer.json lacks it. All other classes never did.
    """
    ends = ("bos_token", "eos_token")
    flags = {role: bool(config[f"add_{role}"]) for role in ends if f"add_{role}" in config}
    obeys = str(config.get("tokenizer_class")) in OBEYING
    if missing := [role for role, is_added in flags.items() if obeys and is_added and role not in tokens]:
        raise CheckpointError(file, f"add_{missing[0]}", f"is true, and there is no {missing[0]}")
    own, unframed = backend.encode("").ids, backend.post_processor
    frame(backend, *(tokens.get(role) if flags.get(role) else None for role in ends))
    differs = bool(flags) and backend.encode("").ids != own
    if not (differs and obeys):
        backend.post_processor = unframed
    said = ", ".join(f"add_{role}={str(is_added).lower()}" for role, is_added in flags.items())
    followed = "is followed" if obeys else "is not followed"
    return [f"{said} of tokenizer_config.json {followed}; tokenizer.json says something else"] if differs else []


def _chat_templates(
    folder: Path, config: dict[str, Any], config_file: Path
) -> tuple[dict[str, str], dict[str, object]]:
    """Templates by name, and the file that each comes from."""
    listed = config.get("chat_template")
    if isinstance(listed, str):
        listed = [{"name": "default", "template": listed}]
    found: dict[str, str] = {}
    try:
        found |= {entry["name"]: entry["template"] for entry in listed or []}
        is_text = all(isinstance(part, str) for pair in found.items() for part in pair)
    except (TypeError, KeyError):
        is_text = False
    if not is_text:
        raise CheckpointError(config_file, "chat_template", "is neither a text nor a list of named texts")
    files: dict[str, object] = dict.fromkeys(found, config_file)
    if (file := folder / "chat_template.jinja").exists():
        found["default"], files["default"] = read_text(file, TEMPLATE_BYTES), file
    return found, files
