"""How large the vocabulary of a tokenizer.json may be, and what its model may look for: checked before it is built."""

from __future__ import annotations

from typing import Any

from zoo.errors import CheckpointError, clean

MAX_TOKENS = 1 << 20
MAX_TOKEN_CHARS = 1024
MAX_PIECE_CHARS = 256  # Unigram tries every piece at every place
MAX_TRIE_NODES = 1_500_000  # of Unigram: 300 bytes each; vocabularies of 250,000 pieces have under a million
MAX_WORD_CHARS = 200  # WordPiece tries every part of a word; files in use say 100
MAX_ADDED_TOKENS = 100_000
MAX_ADDED_BYTES = 1 << 20  # of all added tokens together: the library needs a second for as many
MAX_AFFIX_CHARS = 32


def check_model(model: Any, file: object) -> None:
    """Raise CheckpointError for a model of a size or form that the library cannot build or search in bounds."""
    if not isinstance(model, dict):
        raise CheckpointError(file, "model", "is not an object ({...})")
    vocab = model.get("vocab")
    if not isinstance(vocab, dict | list) or len(vocab) > MAX_TOKENS:
        raise CheckpointError(file, "model.vocab", f"is not a vocabulary of at most {MAX_TOKENS:,} tokens")
    for key in ("continuing_subword_prefix", "end_of_word_suffix"):
        if isinstance(affix := model.get(key), str) and len(affix) > MAX_AFFIX_CHARS:
            raise CheckpointError(file, f"model.{key}", f"has more than {MAX_AFFIX_CHARS} characters")
    longest = model.get("max_input_chars_per_word")
    if isinstance(longest, int) and longest > MAX_WORD_CHARS:
        raise CheckpointError(file, "model.max_input_chars_per_word", f"{clean(longest)} is above {MAX_WORD_CHARS}")
    if isinstance(vocab, dict):
        _check_ids(vocab, file)
        _check_merges(model, vocab, file)
    else:
        _check_pieces(vocab, file)


def check_added(tokens: Any, growth: float, file: object, item: str = "added_tokens") -> None:
    """Raise CheckpointError for more added tokens than the library can look for; a normalizer lengthens `growth`."""
    if not isinstance(tokens, list) or len(tokens) > MAX_ADDED_TOKENS:
        raise CheckpointError(file, item, f"is not a list of at most {MAX_ADDED_TOKENS:,} tokens")
    plain = grown = 0.0
    for i, token in enumerate(tokens):
        content = token.get("content") if isinstance(token, dict) else token
        if not isinstance(content, str) or not content or len(content) > MAX_TOKEN_CHARS:
            raise CheckpointError(file, f"{item}[{i}]", f"is not a token of 1 to {MAX_TOKEN_CHARS} characters")
        if isinstance(token, dict) and isinstance(index := token.get("id"), int) and not 0 <= index < MAX_TOKENS:
            raise CheckpointError(file, f"{item}[{i}].id", f"{clean(index)} is not the id of a token")
        plain += (size := len(content.encode()))
        grown += size * (growth if isinstance(token, dict) and token.get("normalized") else 1)
    if plain > MAX_ADDED_BYTES or grown > 64 * MAX_ADDED_BYTES:
        raise CheckpointError(file, item, f"has more than {MAX_ADDED_BYTES:,} bytes of text")


def _check_ids(vocab: dict[str, Any], file: object) -> None:
    """Ids up to a bound, for the library goes through all of them when it writes a vocabulary; tokens not too long."""
    if not all(type(index) is int for index in vocab.values()):
        raise CheckpointError(file, "model.vocab", "has an id that is not a whole number")
    if vocab and not 0 <= min(vocab.values()) <= max(vocab.values()) < MAX_TOKENS:
        raise CheckpointError(file, "model.vocab", f"has an id that is not from 0 to {MAX_TOKENS - 1:,}")
    if len(longest := max(vocab, key=len, default="")) > MAX_TOKEN_CHARS:
        what = f"has a token of {len(longest):,} characters, more than {MAX_TOKEN_CHARS:,}"
        raise CheckpointError(file, "model.vocab", what)


def _check_merges(model: dict[str, Any], vocab: dict[str, Any], file: object) -> None:
    """Each merge joins two tokens to a third: the library panics on some that do not."""
    merges, prefix = model.get("merges", []), model.get("continuing_subword_prefix") or ""
    if not isinstance(merges, list) or not isinstance(prefix, str):
        raise CheckpointError(file, "model.merges", "is not a list of pairs")
    skipped = len(prefix)
    for i, merge in enumerate(merges):
        pair = merge.split(" ") if isinstance(merge, str) else merge
        if isinstance(merge, str) and merge.startswith("#version"):
            continue
        if (
            not isinstance(pair, list)
            or len(pair) != 2
            or not (isinstance(left := pair[0], str) and isinstance(right := pair[1], str))
            or not (left in vocab and right in vocab and left + right[skipped:] in vocab and right.startswith(prefix))
        ):
            what = f"{clean(repr(merge))} does not join two tokens into a third"
            raise CheckpointError(file, f"model.merges[{i}]", what)


def _check_pieces(vocab: list[Any], file: object) -> None:
    pieces: list[bytes] = []
    for i, entry in enumerate(vocab):
        is_pair = isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str)
        if not is_pair or len(entry[0]) > MAX_PIECE_CHARS:
            what = f"is not a pair of a piece of at most {MAX_PIECE_CHARS} characters and its score"
            raise CheckpointError(file, f"model.vocab[{i}]", what)
        pieces.append(entry[0].encode())
    if sum(map(len, pieces)) > MAX_TRIE_NODES and _trie_nodes(pieces) > MAX_TRIE_NODES:
        raise CheckpointError(file, "model.vocab", f"has more than {MAX_TRIE_NODES:,} different prefixes of pieces")


def _trie_nodes(pieces: list[bytes]) -> int:
    """Different beginnings of pieces, each of which the library keeps as a node."""
    total, before = 0, b""
    for piece in sorted(pieces):
        shared = next((i for i, (a, b) in enumerate(zip(before, piece, strict=False)) if a != b), None)
        total += len(piece) - (min(len(before), len(piece)) if shared is None else shared)
        before = piece
    return total
