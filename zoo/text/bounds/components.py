"""What the steps of a tokenizer.json may do to a text: each is bounded by its form before the library builds it.

The library runs such steps in one go that nothing can interrupt, and ends the process when memory runs out. So how much
longer a chain can make a text, and how often it can go over it, is worked out from the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from zoo.errors import CheckpointError, clean
from zoo.text.bounds.charsmap import longest_replacement
from zoo.text.bounds.patterns import PatternCost, UnboundedPattern, cost_of

MAX_STEPS = 64  # of one section; tokenizers in use have at most a dozen
MAX_DEPTH = 8
MAX_TEXT_CHARS = 256  # of what a step looks for, puts in or cuts off
# Times longer that a chain may make a text, apart from the one table of Unicode's normal forms.
MAX_GROWTH = {"normalizer": 64, "pre_tokenizer": 16, "post_processor": 1, "decoder": 8}
MAX_PIECES = 64  # that a post-processor puts around a text
UNICODE_GROWTH = 11  # bytes of U+FDFA in the form NFKD for each of its own
CHAINS = ("normalizers", "pretokenizers", "decoders", "processors")
TEXTS = ("content", "prepend", "suffix", "prefix", "pad_token", "word_delimiter_token", "replacement")
KINDS = {
    "normalizer": "Bert BertNormalizer Strip StripAccents NFC NFD NFKC NFKD Sequence Lowercase Nmt Precompiled Replace"
    " Prepend ByteLevel",
    "pre_tokenizer": "BertPreTokenizer ByteLevel CharDelimiterSplit Metaspace Whitespace Sequence Split Punctuation"
    " WhitespaceSplit Digits UnicodeScripts FixedLength",
    "post_processor": "RobertaProcessing BertProcessing ByteLevel TemplateProcessing Sequence",
    "decoder": "BPEDecoder ByteLevel WordPiece Metaspace CTC Sequence Replace Fuse Strip ByteFallback",
}


@dataclass
class Effect:
    """What a section does at most: a text grows `growth` times in bytes, and each pattern costs what it costs."""

    growth: float
    patterns: list[tuple[str, PatternCost]]  # where it stands, and what it costs


def check_section(tree: dict[str, Any], section: str, file: object) -> Effect:
    """The effect of one section of a tokenizer.json. Raises CheckpointError for a form without a bound."""
    growth, unicode, num_tables, num_frames, patterns = 1.0, 1.0, 0, 0, []
    for count, (node, place) in enumerate(_steps(tree.get(section), section, 0, file)):
        if count >= MAX_STEPS:
            raise CheckpointError(file, section, f"has more than {MAX_STEPS} steps")
        kind = node.get("type")
        if kind not in KINDS[section].split():
            raise CheckpointError(file, place, f"{clean(repr(kind))} is not a {section} that zoo knows")
        num_tables += kind == "Precompiled"
        num_frames += "single" in node or "cls" in node  # by its keys: the library does not look at the type
        _check_numbers(node, place, file)
        cost = _pattern(node, place, file)
        if cost:
            patterns.append((place, cost))
        growth *= _growth(node, section, cost)
        unicode = max(unicode, _unicode_growth(node, place, file))
        if section == "post_processor":
            _check_frame(node, place, file)
        if section == "decoder" and cost and cost.degree:
            raise CheckpointError(file, f"{place}.pattern", "can process a text more than once")
        if growth > (most := MAX_GROWTH[section]):
            what = f"makes a text up to {min(growth, 1e9):,.0f} times as long"
            raise CheckpointError(
                file, place, what, why=f"zoo accepts a {section} that makes it at most {most} times as long"
            )
    if num_tables > 1 or num_frames > 1:  # on the second frame the library panics
        raise CheckpointError(file, section, "has two steps of a kind that may occur only once")
    return Effect(growth * unicode, patterns)


def _steps(node: Any, place: str, depth: int, file: object) -> Iterator[tuple[dict[str, Any], str]]:
    if node is None and depth == 0:
        return
    if not isinstance(node, dict):
        raise CheckpointError(file, place, "is not an object ({...})")
    if depth > MAX_DEPTH:
        raise CheckpointError(file, place, f"has too many nested sequences, more than {MAX_DEPTH}")
    yield node, place
    for chain in CHAINS:
        inner = node.get(chain, [])
        if not isinstance(inner, list):
            raise CheckpointError(file, f"{place}.{chain}", "is not a list")
        for i, child in enumerate(inner):
            yield from _steps(child, f"{place}.{chain}[{i}]", depth + 1, file)


def _check_numbers(node: dict[str, Any], place: str, file: object) -> None:
    for key in TEXTS:
        if isinstance(value := node.get(key), str) and len(value) > MAX_TEXT_CHARS:
            raise CheckpointError(file, f"{place}.{key}", f"has more than {MAX_TEXT_CHARS} characters")
    for key, least, most in (("start", 0, 64), ("stop", 0, 0), ("length", 1, 1 << 20)):
        value = node.get(key)
        if isinstance(value, int) and not least <= value <= most:
            # The library panics where it strips at the end, and where a length is 0.
            raise CheckpointError(file, f"{place}.{key}", f"{clean(value)} is not from {least} to {most:,}")


def _pattern(node: dict[str, Any], place: str, file: object) -> PatternCost | None:
    pattern = node.get("pattern")
    if not isinstance(pattern, dict):
        return None
    regex = pattern.get("Regex")
    try:
        if isinstance(regex, str):
            return cost_of(regex)
    except UnboundedPattern as error:
        raise CheckpointError(file, f"{place}.pattern", f"{clean(repr(regex))} {error}") from None
    text = pattern.get("String")
    if isinstance(text, str) and not 0 < len(text) <= MAX_TEXT_CHARS:
        raise CheckpointError(file, f"{place}.pattern", f"is not a text of 1 to {MAX_TEXT_CHARS} characters")
    return PatternCost(min_bytes=len(text.encode())) if isinstance(text, str) else None


def _growth(node: dict[str, Any], section: str, cost: PatternCost | None) -> float:
    """Bytes for each byte that went in; each may be a piece of its own, so what is put before pieces multiplies."""
    kind = node["type"]
    if kind == "ByteLevel":
        return 1 if section in ("decoder", "post_processor") else 2 + 2 * bool(node.get("add_prefix_space"))
    if kind == "Metaspace" and section == "pre_tokenizer":
        mark = len(str(node.get("replacement")).encode())
        return max(mark, 1 + mark * (node.get("prepend_scheme") != "never"))
    if kind == "Prepend":
        return 1 + len(str(node.get("prepend")).encode())
    if kind in ("CTC", "BPEDecoder"):
        return 1 if node.get("suffix", node.get("word_delimiter_token")) else 2  # spaces between all letters
    if kind == "WordPiece":
        return 2
    if kind == "Replace" and cost:
        new = len(str(node.get("content")).encode())
        return max(1.0, new / cost.min_bytes) if cost.min_bytes else 1 + new
    return 1


def _unicode_growth(node: dict[str, Any], place: str, file: object) -> float:
    """That of a normal form. It is the same however many a chain has, for each leaves alone what another made."""
    if node["type"] == "Precompiled":
        return max(UNICODE_GROWTH, longest_replacement(node.get("precompiled_charsmap"), place, file))
    return UNICODE_GROWTH if node["type"].startswith("NF") else 1


def _check_frame(node: dict[str, Any], place: str, file: object) -> None:
    """A template takes each text once, names tokens that it explains, and adds a handful."""
    specials = node.get("special_tokens", {})
    for name in ("single", "pair"):
        pieces = node.get(name, [])
        if not isinstance(pieces, list) or not isinstance(specials, dict) or len(pieces) > MAX_PIECES:
            raise CheckpointError(file, f"{place}.{name}", f"is not a list of at most {MAX_PIECES} pieces")
        texts = [_named(piece, "Sequence") for piece in pieces]
        for sequence in ("A", "B"):
            if texts.count(sequence) > (name == "pair" or sequence == "A"):
                raise CheckpointError(file, f"{place}.{name}", f"uses the text {sequence} too often")
        added = 0
        for token in filter(None, (_named(piece, "SpecialToken") for piece in pieces)):
            special = specials.get(token)
            if not isinstance(special, dict) or not isinstance(ids := special.get("ids"), list):
                raise CheckpointError(file, f"{place}.{name}", f"{clean(repr(token))} is not in its special_tokens")
            added += len(ids)
        if added > MAX_PIECES:
            raise CheckpointError(file, f"{place}.{name}", f"adds more than {MAX_PIECES} tokens to every text")


def _named(piece: Any, kind: str) -> str | None:
    inner = piece.get(kind) if isinstance(piece, dict) else None
    name = inner.get("id") if isinstance(inner, dict) else None
    return name if isinstance(name, str) else None
