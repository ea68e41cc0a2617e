"""Names of tokens that no text is read as: a character before them that no text has, by a promise of Unicode."""

from __future__ import annotations

VEIL = "\uffff"


def veiled(token: str) -> str:
    """How the library's vocabulary spells a token that a text must not become."""
    return VEIL + token


def unveiled(text: str) -> str:
    """The token, or the text with such tokens in it, as it is meant."""
    return text.replace(VEIL, "")
