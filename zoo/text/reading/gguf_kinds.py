"""The vocabularies of GGUF files that other rules than merges by name make: WordPiece, Unigram, and Gemma's pieces."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, normalizers, pre_tokenizers

from zoo.errors import clean
from zoo.text.bounds.limits import is_of_library
from zoo.text.kinds.pieces import tree_of
from zoo.text.kinds.proto import BPE, BYTE, UNIGRAM, UNKNOWN, UNUSED, Piece, SentencePieceModel

if TYPE_CHECKING:
    from zoo.text.reading.gguf import VocabularyFacts

SPACE = "▁"
UNLIKELY = -1e6


def word_pieces(facts: VocabularyFacts) -> Backend:
    """BERT's. The file marks the words that begin, and not those that go on."""
    facts.tokens = [_unmarked(token) for token in facts.tokens]
    vocab = {token: index for index, token in enumerate(facts.tokens)}
    unknown = facts.roles().get("unk_token", "[UNK]")
    for token in (unknown, "[CLS]", "[SEP]"):
        if token not in vocab:
            raise facts.wrong("tokens", f"lacks {clean(token)!r}, which is needed to write text")
    words: Any = models.WordPiece(
        vocab=vocab, unk_token=unknown, continuing_subword_prefix="##", max_input_chars_per_word=100
    )
    backend = Backend(words)
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    return backend


def pieces(facts: VocabularyFacts, *, is_unigram: bool) -> Backend:
    """SentencePiece's: T5's Unigram, or merges by score that keep symbols whole, as Gemma's do."""
    scores = facts.beside("scores", float, int)
    if not all(score == score for score in scores):
        raise facts.wrong("scores", "holds NaN")
    typed = zip(facts.tokens, scores, facts.types, strict=True)
    listed = [Piece(t, UNLIKELY, UNKNOWN) if k == UNUSED else Piece(t, float(s), k) for t, s, k in typed]
    unknown = facts.roles().get("unk_token")
    model = SentencePieceModel(
        listed,
        UNIGRAM if is_unigram else BPE,
        bytes(x & 0xFF for x in facts.column("precompiled_charsmap", int))
        if facts.has("precompiled_charsmap")
        else b"",
        facts.flag("add_space_prefix", True),
        facts.flag("remove_extra_whitespaces", is_unigram),
        byte_fallback=any(piece.type == BYTE for piece in listed),
        ids={"unk": facts.tokens.index(unknown) if unknown is not None else _unknown(facts)},
    )
    tree = {"version": "1.0", **tree_of(model, facts.file)}
    try:
        return Backend.from_str(json.dumps(tree))
    except BaseException as error:
        if not is_of_library(error):
            raise
        raise facts.wrong("tokens", f"are not pieces: {clean(error)}") from None


def _unknown(facts: VocabularyFacts) -> int:
    if UNKNOWN not in facts.types:
        raise facts.wrong("token_type", "names no unknown token")
    return facts.types.index(UNKNOWN)


def _unmarked(token: str) -> str:
    if token.startswith("[") and token.endswith("]"):
        return token
    return token[1:] if token.startswith(SPACE) else f"##{token}"
