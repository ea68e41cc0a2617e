"""Settings beside the model's config, typed as its overrides are: `generation.top_k=5`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from zoo.errors import UsageError


def parted(words: Iterable[str], group: str) -> tuple[list[str], list[str]]:
    """The words of `group`, and the others. Needs no Hydra."""
    words = list(words)
    own = [word for word in words if word.lstrip("+").startswith(f"{group}.")]
    return own, [word for word in words if word not in own]


def settings_of(words: Iterable[str], group: str) -> dict[str, Any]:
    """Values by name of `group.NAME=VALUE` words, in Python's types. Raises UsageError for any other kind of word."""
    if not (words := list(words)):
        return {}
    from hydra.core.override_parser.overrides_parser import OverridesParser

    from zoo.presets.composition import translated

    found: dict[str, Any] = {}
    for word in words:
        if "=" not in word:
            raise UsageError(f"{word} has no value", hint=f"{word}=VALUE, or {word}=null for none")
        with translated():
            override = OverridesParser.create().parse_override(word.lstrip("+"))
        if override.is_sweep_override():
            raise UsageError(
                f"{word}: only one value can be set", hint=f"to give a list: '{override.key_or_group}=[…]'"
            )
        found[override.key_or_group.removeprefix(f"{group}.")] = override.value()
    return found
