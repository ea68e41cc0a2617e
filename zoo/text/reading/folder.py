"""The tokenizer of a folder: tokenizer.json or an older file, with what tokenizer_config.json adds to it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tokenizers import AddedToken
from tokenizers import Tokenizer as Backend

from zoo.errors import CheckpointError, clean
from zoo.files.regular import read_bounded
from zoo.text.bounds.building import parse
from zoo.text.bounds.limits import Limits, guarded
from zoo.text.bounds.vocabulary import check_added
from zoo.text.chat.formats import FORMATS
from zoo.text.chat.wording import chat_templates, is_llama2
from zoo.text.files import TOKENIZER_BYTES, read_json
from zoo.text.kinds import Found, find
from zoo.text.kinds.record import Folder
from zoo.text.reading.source import TokenizerSource, check_known, frame, surround
from zoo.text.tokens.small_letters import lower, plain_words
from zoo.text.tokens.special import flagged_in, listed_in, roles_in
from zoo.text.tokens.veil import veiled

FLAGS = ("lstrip", "normalized", "rstrip", "single_word", "special")
OBEYING = {
    f"{name}Tokenizer{kind}" for name in ("Llama", "CodeLlama", "Gemma", "Cohere") for kind in ("", "Fast")
}  # classes that took add_bos_token from the config


def read_folder(folder: Path) -> TokenizerSource:
    """What the files of `folder` say; see `Tokenizer.from_folder`."""
    file, words = folder / "tokenizer.json", Folder.of(folder)
    if file.exists() or file.is_symlink():
        backend, limits = parse(read_bounded(file, TOKENIZER_BYTES), file)
        named = words.config, words.tokenizer_class, words.model_type
        lower(backend, *named)
        spelling = plain_words(*named) if words.tokenizer_class else None
        return _with_config(folder, backend, limits, Found(file, _kind(backend), {}, spelling=spelling))
    if (found := find(words)) is None:
        hint = (
            "text needs the tokenizer that the weights were trained with; zoo.generate in Python also takes token ids"
        )
        why = "nor is there another file that zoo reads one from"
        if words.has("tekken.json"):
            hint = "it has tekken.json: save it with transformers' AutoTokenizer, which writes tokenizer.json"
        raise CheckpointError(file, "", "is not there", why=why, hint=hint)
    backend, limits = _rebuilt(found)
    return _with_config(folder, backend, limits, found)


def _kind(backend: Backend) -> str:
    return type(backend.model).__name__


def _rebuilt(found: Found) -> tuple[Backend, Limits]:
    """The tokenizer of another kind of file, held to all that a tokenizer.json is held to."""
    flags = dict.fromkeys(FLAGS, False) | {"special": True}
    listed = {token["content"]: token for token in found.tree.get("added_tokens", [])}
    listed |= {token: {"id": index, "content": token, **flags} for index, token in found.added.items()}
    tokens = sorted(listed.values(), key=lambda token: token["id"])
    tree = {"version": "1.0", **found.tree, "added_tokens": tokens}
    backend, limits = parse(json.dumps(tree).encode(), found.file)
    for token in tokens:
        if (index := backend.token_to_id(token["content"])) != token["id"]:
            what = f"{clean(token['content'])!r} is token {index}, and should be {token['id']}"
            raise CheckpointError(found.file, "", what)
    return backend, limits


def _with_config(folder: Path, backend: Backend, limits: Limits, found: Found) -> TokenizerSource:
    """The tokenizer with what the small files beside it add."""
    config_file, map_file = folder / "tokenizer_config.json", folder / "special_tokens_map.json"
    config, special = read_json(config_file), read_json(map_file)
    is_rebuilt = bool(found.tree)
    whole = found.wrap(backend) if found.wrap else backend  # what has the model's ids
    with guarded(config_file, "", f"does not fit {found.file.name}"):
        tokens = {**found.roles, **roles_in(special, map_file), **roles_in(config, config_file)}
        _add_tokens(backend, config.get("added_tokens_decoder") or {}, limits, config_file, whole=whole)
        if is_rebuilt:
            _add_listed(backend, tokens, special, folder, whole)
        check_known(whole, tokens, config_file)
        extra = listed_in(config, config_file) + (listed_in(special, map_file) if is_rebuilt else [])
        for key, token in extra:
            check_known(whole, {key: token}, config_file)
        if is_rebuilt and (flagged := [*flagged_in(special), *flagged_in(config)]):
            check_added([token.content for token in flagged], limits.growth, config_file, "special tokens")
            backend.add_special_tokens(flagged)
        _mark_special(backend, [*tokens.values(), *(token for _, token in extra)], config_file)
        if config.get("split_special_tokens"):
            backend.encode_special_tokens = True
        if is_rebuilt:
            notes, joins = found.notes + _surround(backend, config, tokens, found), found.between is not None
        else:
            notes, joins = _frame(backend, config, tokens, config_file)
    templates, files = chat_templates(folder, config, config_file)
    kind = f"{found.kind} ({found.file.name})"
    format = None if templates else FORMATS.get(found.chat or ("llama2" if is_llama2(folder) else ""))
    rest = (found.hidden, found.spelling, format, joins and found.wrap is None)
    return TokenizerSource(whole, found.file, tokens, templates, notes, limits, files, kind, *rest)


def _surround(backend: Backend, config: dict[str, Any], tokens: dict[str, str], found: Found) -> list[str]:
    """Put before and after every text what its family does, or add_bos_token and add_eos_token say."""
    before, after = list(found.before), list(found.after)
    flags = {role: config[f"add_{role}"] for role in ("bos_token", "eos_token") if f"add_{role}" in config}
    if found.obeys:
        for role, side in (("bos_token", before), ("eos_token", after)):
            is_added = flags.get(role, role in side)
            side[:] = [role] if is_added else []
            if is_added and role not in tokens:
                raise CheckpointError(found.file.parent / "tokenizer_config.json", f"add_{role}", f"there is no {role}")
    if found.wrap is None:
        named = {name: veiled(name) for name in found.hidden} | tokens
        first, last, middle = ([named.get(x, x) for x in side] for side in (before, after, found.between or ()))
        surround(backend, first, last, middle, found.second_type)
    told = [
        f"add_{role}" for role, value in flags.items() if not found.obeys and bool(value) != (role in before + after)
    ]
    return [f"{name} of tokenizer_config.json is not followed: its family's texts do otherwise" for name in told]


def _add_listed(backend: Backend, tokens: dict[str, str], special: dict[str, Any], folder: Path, whole: Any) -> None:
    """Tokens that added_tokens.json lists with their ids."""
    file = folder / "added_tokens.json"
    wanted = read_json(file)
    map_file = folder / "special_tokens_map.json"
    specials = {*tokens.values(), *(token for _, token in listed_in(special, map_file))}
    decoder = {}
    for token, index in wanted.items():
        if type(index) is not int:
            raise CheckpointError(file, clean(token), f"{clean(repr(index))} is not the id of a token")
        is_special = token in specials
        decoder[str(index)] = {"content": token, "special": is_special, "normalized": not is_special}
    if len(decoder) < len(wanted):
        raise CheckpointError(file, "", "gives an id to two tokens")
    fresh = {key: value for key, value in decoder.items() if whole.token_to_id(value["content"]) != int(key)}
    _add_tokens(backend, fresh, Limits(), file, "", whole=whole)


def _add_tokens(
    backend: Backend, wanted: Any, limits: Limits, file: Path, key_of: str = "added_tokens_decoder.", *, whole: Any
) -> None:
    """Tokens that only a small file lists, or lists with other flags; their ids must come out as it says."""
    if not isinstance(wanted, dict):
        raise CheckpointError(file, "added_tokens_decoder", "is not an object of ids and tokens")
    listed: dict[int, AddedToken] = {}
    for key, value in sorted(wanted.items(), key=lambda pair: (len(pair[0]), pair[0])):
        content = value.get("content") if isinstance(value, dict) else value
        if not isinstance(content, str) or not content or not re.fullmatch("0|[1-9][0-9]{0,6}", key):
            item = f"{key_of}{clean(key)}"
            raise CheckpointError(file, item, f"{clean(repr(value))} is not a token")
        flags = {flag: bool(value[flag]) for flag in FLAGS if isinstance(value, dict) and flag in value}
        listed[int(key)] = AddedToken(content, **flags)
    check_added(list(wanted.values()), limits.growth, file, key_of.rstrip(".") or "added tokens")
    if listed:  # all at once: the library builds its search anew with every call
        backend.add_tokens(list(listed.values()))
    for wanted_index, token in listed.items():
        if (index := whole.token_to_id(token.content)) != wanted_index:
            what = f"{clean(token.content)!r} is token {index} of the vocabulary"
            raise CheckpointError(file, f"{key_of}{wanted_index}", what)


def _mark_special(backend: Backend, tokens: list[str], file: Path) -> None:
    """Let special tokens be found whole in a text, as transformers does where tokenizer.json does not say so."""
    added = {token.content for token in backend.get_added_tokens_decoder().values()}
    fresh = [token for token in dict.fromkeys(tokens) if token not in added]
    check_added(fresh, 1, file, "additional_special_tokens")
    if fresh:
        backend.add_special_tokens(fresh)


def _frame(backend: Backend, config: dict[str, Any], tokens: dict[str, str], file: Path) -> tuple[list[str], bool]:
    """Follow add_bos_token and add_eos_token, and tell where tokenizer.json says something else.

    The answer's second part is whether two texts are still joined as tokenizer.json says.

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
    told = f"{said} of tokenizer_config.json {followed}; tokenizer.json says something else"
    return [told] if differs else [], not (differs and obeys)
