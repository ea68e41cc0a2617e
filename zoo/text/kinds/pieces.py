"""A SentencePiece model as the sections of a tokenizer.json that gives the same ids."""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping
from typing import Any

from zoo.errors import CheckpointError, clean
from zoo.text.kinds.proto import BPE, BYTE, CONTROL, NORMAL, UNUSED, USER_DEFINED, SentencePieceModel
from zoo.text.kinds.sections import bpe, replace, sequence
from zoo.text.tokens.merging import are_cut_in_bounds, merges_of
from zoo.text.tokens.veil import veiled

SPACE = "▁"
UNLIKELY = -1e6  # the score of a piece that no text is worth
SYMBOL = -0.1  # that of a symbol, whatever its file says


def tree_of(
    model: SentencePieceModel,
    file: object,
    *,
    pieces: list[tuple[str, float]] | None = None,
    unknown: int | None = None,
    first_only: bool = False,
    hidden: Collection[str] = (),
) -> dict[str, Any]:
    """The sections. `pieces` are those of the model unless a family shifts its ids, `unknown` is the id among them.

    `first_only`: of the parts between special tokens only the first has a space put before it. `hidden` are tokens that
    no text is read as.
    """
    listed = [(piece.text, piece.score) for piece in model.pieces] if pieces is None else pieces
    unknown = model.ids["unk"] if unknown is None else unknown
    if model.algorithm != BPE:
        listed = _scored(model, listed)
    never = {*hidden, *(piece.text for piece in model.pieces if piece.type == UNUSED)}
    listed = [(veiled(text) if text in never else text, score) for text, score in listed]
    steps: list[dict[str, Any]] = []
    if model.charsmap:
        table = base64.b64encode(model.charsmap).decode()
        steps.append({"type": "Precompiled", "precompiled_charsmap": table})
    if model.remove_extra_whitespaces:
        runs = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}
        steps += [{"type": "Strip", "strip_left": True, "strip_right": True}, runs]
    decoders = [replace(SPACE, " "), {"type": "ByteFallback"}, {"type": "Fuse"}]
    if model.add_dummy_prefix:
        decoders.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    tree = {
        "normalizer": sequence("normalizers", *steps, replace(" ", SPACE)),
        "decoder": sequence("decoders", *decoders),
        "model": _algorithm(model, listed, unknown, file),
        "added_tokens": _added(model, {text: index for index, (text, _) in enumerate(listed)}),
    }
    return tree | {"pre_tokenizer": _prefix("first" if first_only else "always")} if model.add_dummy_prefix else tree


def _prefix(scheme: str) -> dict[str, Any]:
    """A ▁ before a text, before one that begins with ▁ too: as a space first, for a text has none left by now."""
    space = {"type": "Metaspace", "replacement": " ", "prepend_scheme": scheme, "split": False}
    return sequence("pretokenizers", space, space | {"replacement": SPACE, "prepend_scheme": "never"})


def _algorithm(
    model: SentencePieceModel, listed: list[tuple[str, float]], unknown: int, file: object
) -> dict[str, Any]:
    if model.algorithm != BPE:
        flags = {"unk_id": unknown, "byte_fallback": model.byte_fallback}
        return {"type": "Unigram", **flags, "vocab": [list(pair) for pair in listed]}
    vocab = {text: index for index, (text, _) in enumerate(listed)}
    if not are_cut_in_bounds(vocab):
        raise CheckpointError(file, "", "has pieces that are too long: zoo cannot search for the pairs that make them")
    mergeable = {piece.text for piece in model.pieces if piece.type in (NORMAL, USER_DEFINED)}
    ranks = {text: -score for text, score in listed if text in mergeable}
    unknown_token = listed[unknown][0]
    flags = {"unk_token": unknown_token, "fuse_unk": True, "byte_fallback": model.byte_fallback}
    return bpe(vocab, merges_of(ranks, vocab), **flags)


def _scored(model: SentencePieceModel, listed: list[tuple[str, float]]) -> list[tuple[str, float]]:
    """Scores as the library has them: symbols are all but certain, and bytes stand for no text that spells them."""
    fixed = {USER_DEFINED: SYMBOL, BYTE: UNLIKELY}
    scores = {piece.text: fixed[piece.type] for piece in model.pieces if piece.type in fixed}
    return [(text, scores.get(text, score)) for text, score in listed]


def _added(model: SentencePieceModel, vocab: Mapping[str, int]) -> list[dict[str, Any]]:
    """Symbols that are taken whole from a text, which a Unigram model does by their score.

    Those with a ▁ are looked for when spaces have become such.
    """
    found = []
    for piece in model.pieces:
        is_spaced = SPACE in piece.text
        if piece.type not in (CONTROL, USER_DEFINED) or piece.text not in vocab:
            continue
        if piece.type == USER_DEFINED and model.algorithm != BPE:
            continue
        flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": is_spaced}
        found.append({"id": vocab[piece.text], "content": piece.text, **flags, "special": piece.type == CONTROL})
    return sorted(found, key=lambda token: token["id"])


def token_of(model: SentencePieceModel, role: str, file: object) -> str:
    """The piece with this role. Raises CheckpointError where there is none."""
    if (token := model.token(role)) is None:
        raise CheckpointError(file, f"trainer_spec.{role}_id", f"{clean(model.ids[role])} is not one of its pieces")
    return token
