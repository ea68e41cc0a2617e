"""Tokens by themselves: one may be a part of a character, or begin with a space that is dropped where a text begins."""

from __future__ import annotations

from zoo.text.kinds.ranks import byte_letters

_BYTES = {letter: byte for byte, letter in byte_letters().items()}


def added_bytes(once: str, twice: str, spelt: str) -> bytes:
    """What a token adds to a text: given how it reads once and twice, and how the vocabulary spells it."""
    added = twice[len(once) :]
    if "\ufffd" not in added:
        return added.encode()
    is_by_bytes = bool(spelt) and all(letter in _BYTES for letter in spelt)  # in the letters of byte-level vocabularies
    return bytes(_BYTES[letter] for letter in spelt) if is_by_bytes else added.encode()
