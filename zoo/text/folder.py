"""The tokenizer of a Hugging Face folder: tokenizer.json with what tokenizer_config.json adds to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import AddedToken
from tokenizers import Tokenizer as Backend

from zoo.errors import CheckpointError, clean
from zoo.text.files import TEMPLATE_BYTES, TOKENIZER_BYTES, read_json, read_text
from zoo.text.source import TokenizerSource, check_known, frame

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
        hint = "texts need the one that the weights were trained with; zoo.generate in Python takes token ids too"
        if older:
            hint = f"it has {older}: save it with transformers' AutoTokenizer, which writes tokenizer.json"
        raise CheckpointError(file, "", "is not there", hint=hint)
    backend = parse(read_text(file, TOKENIZER_BYTES), file)
    config = read_json(config_file)
    tokens = _roles(read_json(folder / "special_tokens_map.json"), folder / "special_tokens_map.json")
    tokens |= _roles(config, config_file)
    _add_tokens(backend, config.get("added_tokens_decoder") or {}, config_file)
    check_known(backend, tokens, config_file)
    _mark_special(backend, list(tokens.values()) + _extra(backend, config, config_file))
    if config.get("split_special_tokens"):
        backend.encode_special_tokens = True
    notes = _frame(backend, config, tokens, config_file)
    return TokenizerSource(backend, file, tokens, _chat_templates(folder, config, config_file), notes)


def parse(text: str, file: object) -> Backend:
    """A tokenizer.json as a `tokenizers` object that neither cuts nor pads. Raises CheckpointError."""
    try:
        backend = Backend.from_str(text)
    except BaseException as error:  # the library raises plain Exception, and where it panics not even that
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise CheckpointError(file, "", f"is not a tokenizer: {clean(error)}") from None
    backend.no_truncation()  # files saved for training carry both, and a prompt must not lose its end
    backend.no_padding()
    if getattr(backend.model, "dropout", None):
        raise CheckpointError(file, "model.dropout", "would give the same text other tokens each time")
    return backend


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


def _add_tokens(backend: Backend, wanted: Any, file: Path) -> None:
    """Tokens that only tokenizer_config.json lists, or lists with other flags; their ids must come out as it says."""
    if not isinstance(wanted, dict):
        raise CheckpointError(file, "added_tokens_decoder", "is not an object of ids and tokens")
    for key, value in sorted(wanted.items(), key=lambda pair: (len(pair[0]), pair[0])):
        item = f"added_tokens_decoder.{clean(key)}"
        content = value.get("content") if isinstance(value, dict) else value
        if not isinstance(content, str) or not content or not key.isdecimal():
            raise CheckpointError(file, item, f"{clean(repr(value))} is not a token")
        flags = {flag: bool(value[flag]) for flag in FLAGS if isinstance(value, dict) and flag in value}
        backend.add_tokens([AddedToken(content, **flags)])
        if (index := backend.token_to_id(content)) != int(key):
            raise CheckpointError(file, item, f"{clean(content)!r} is token {index} of tokenizer.json")


def _extra(backend: Backend, config: dict[str, Any], file: Path) -> list[str]:
    tokens: list[str] = []
    for key in ("additional_special_tokens", "extra_special_tokens"):
        listed = config.get(key) or []
        named = listed.values() if isinstance(listed, dict) else listed
        for value in named:
            content = value.get("content") if isinstance(value, dict) else value
            if not isinstance(content, str) or not content:
                raise CheckpointError(file, key, f"{clean(repr(value))} is not a token")
            check_known(backend, {key: content}, file)
            tokens.append(content)
    return tokens


def _mark_special(backend: Backend, tokens: list[str]) -> None:
    """Let special tokens be found whole in a text, as transformers does where tokenizer.json does not say so."""
    added = {token.content for token in backend.get_added_tokens_decoder().values()}
    backend.add_special_tokens([token for token in tokens if token not in added])


def _frame(backend: Backend, config: dict[str, Any], tokens: dict[str, str], file: Path) -> list[str]:
    """Follow add_bos_token and add_eos_token, and tell where tokenizer.json says otherwise.

    The classes named OBEYING did so when their checkpoints were released; transformers 5 no longer does, and drops the
    begin token of those whose tokenizer.json lacks it. All other classes never did.
    """
    ends = ("bos_token", "eos_token")
    flags = {role: bool(config[f"add_{role}"]) for role in ends if f"add_{role}" in config}
    obeys = config.get("tokenizer_class") in OBEYING
    if missing := [role for role, is_added in flags.items() if obeys and is_added and role not in tokens]:
        raise CheckpointError(file, f"add_{missing[0]}", f"is true, and there is no {missing[0]}")
    own, unframed = backend.encode("").ids, backend.post_processor
    frame(backend, *(tokens.get(role) if flags.get(role) else None for role in ends))
    differs = bool(flags) and backend.encode("").ids != own
    if not (differs and obeys):
        backend.post_processor = unframed
    said = ", ".join(f"add_{role}={str(is_added).lower()}" for role, is_added in flags.items())
    followed = "is followed" if obeys else "is not followed"
    return [f"{said} of tokenizer_config.json {followed}; tokenizer.json says otherwise"] if differs else []


def _chat_templates(folder: Path, config: dict[str, Any], config_file: Path) -> dict[str, str]:
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
    if (file := folder / "chat_template.jinja").exists():
        found["default"] = read_text(file, TEMPLATE_BYTES)
    return found
