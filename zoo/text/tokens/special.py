"""Special tokens as the small files of a folder name them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import AddedToken

from zoo.errors import CheckpointError, clean

ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
LISTS = ("additional_special_tokens", "extra_special_tokens")


def roles_in(config: Mapping[str, Any], file: Path) -> dict[str, str]:
    """Special tokens by role. Raises CheckpointError for what is no token."""
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


def flagged_in(config: Mapping[str, Any]) -> list[AddedToken]:
    """Tokens that a file describes by more than their spelling: RoBERTa's mask takes the space before it along."""
    values = [config.get(role) for role in ROLES]
    values += [value for key in LISTS if isinstance(listed := config.get(key), list) for value in listed]
    described = [value for value in values if isinstance(value, dict) and isinstance(value.get("content"), str)]
    flags = ("lstrip", "rstrip", "normalized", "single_word")
    return [
        AddedToken(value["content"], special=True, **{flag: bool(value[flag]) for flag in flags if flag in value})
        for value in described
    ]


def listed_in(config: Mapping[str, Any], file: Path) -> list[tuple[str, str]]:
    """Special tokens without a role, each with the key that lists it. Raises CheckpointError for what is no token."""
    found: list[tuple[str, str]] = []
    for key in LISTS:
        listed = config.get(key) or []
        if not isinstance(listed, dict | list):
            raise CheckpointError(file, key, f"{clean(repr(listed))} is not a list of tokens")
        for value in listed.values() if isinstance(listed, dict) else listed:
            content = value.get("content") if isinstance(value, dict) else value
            if not isinstance(content, str) or not content:
                raise CheckpointError(file, key, f"{clean(repr(value))} is not a token")
            found.append((key, content))
    return found
