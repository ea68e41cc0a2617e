"""Tokens by themselves: one may be a part of a character, or begin with a space that is dropped where a text begins."""

from __future__ import annotations


def added_bytes(once: str, twice: str, spelt: str) -> bytes:
    """What a token adds to a text: given how it reads once and twice, and how the vocabulary spells it."""
    added = twice[len(once) :]
    if "\ufffd" not in added:
        return added.encode()
    is_by_bytes = bool(spelt) and all(letter in _BYTES for letter in spelt)  # in the letters of byte-level vocabularies
    return bytes(_BYTES[letter] for letter in spelt) if is_by_bytes else added.encode()


def byte_letters() -> dict[int, str]:
    """The letter that stands for each byte: itself where it prints, one from U+0100 on where it does not."""
    printing = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printing]
    return {byte: chr(byte) for byte in printing} | {byte: chr(0x100 + i) for i, byte in enumerate(others)}


_BYTES = {letter: byte for byte, letter in byte_letters().items()}
