"""The tokenizer that GGUF metadata describes, rebuilt with `tokenizers`.

A GGUF file has the vocabulary and the name of a splitting rule, not the rule; rules are known by name (splitting.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from tokenizers import AddedToken, decoders, normalizers
from tokenizers import Tokenizer as Backend
from tokenizers.models import BPE

from zoo.errors import CheckpointError, clean
from zoo.text.bounds.limits import guarded, is_of_library
from zoo.text.bounds.vocabulary import check_added
from zoo.text.reading.source import TokenizerSource, frame
from zoo.text.tokens.merging import are_cut_in_bounds, merges_of
from zoo.text.tokens.splitting import SPLITTINGS

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)  # tokenizer.ggml.token_type
MAX_TOKENS = 1 << 20
MAX_TOKEN_CHARS = 1024
ROLES = {
    "bos_token": "bos_token_id",
    "eos_token": "eos_token_id",
    "unk_token": "unknown_token_id",
    "pad_token": "padding_token_id",
    "sep_token": "seperator_token_id",  # spelt so in the format
    "mask_token": "mask_token_id",
}


def read_gguf(metadata: Mapping[str, Any], file: object) -> TokenizerSource:
    """What `metadata` says; see `Tokenizer.from_gguf`."""
    facts = _Facts(metadata, file)
    kind = facts.text("model")
    if kind == "gpt2":
        backend, add_bos = _byte_level(facts)
    elif kind == "llama":
        backend, add_bos = _sentencepiece(facts), True
    else:
        raise facts.wrong("model", f"zoo rebuilds gpt2 and llama, not {clean(kind)!r}")
    typed = zip(facts.tokens, facts.types, strict=True)
    added = [
        AddedToken(token, normalized=False, special=type_ == CONTROL)
        for token, type_ in typed
        if type_ in (CONTROL, USER_DEFINED)
    ]
    roles = facts.roles()
    check_added([token.content for token in added], 1, file, "tokenizer.ggml.token_type")
    with guarded(file, "tokenizer.ggml", "is not a vocabulary"):
        backend.add_tokens(added)  # all at once: the library builds its search anew with every call
        backend.add_special_tokens(list(roles.values()))
    ends = [
        roles.get(role) if facts.flag(f"add_{role}", default) else None
        for role, default in (("bos_token", add_bos), ("eos_token", False))
    ]
    frame(backend, *ends)
    return TokenizerSource(backend, file, roles, _chat_templates(metadata, file), kind=f"BPE (GGUF, {clean(kind)})")


class _Facts:
    """The keys under tokenizer.ggml, checked."""

    def __init__(self, metadata: Mapping[str, Any], file: object) -> None:
        self.metadata, self.file = metadata, file
        self.tokens: list[str] = self.column("tokens", str)
        if len(set(self.tokens)) < len(self.tokens):
            twice = Counter(self.tokens).most_common(1)[0][0]
            raise self.wrong("tokens", f"contains {clean(twice)!r} twice")
        if any(len(token) > MAX_TOKEN_CHARS for token in self.tokens):
            raise self.wrong("tokens", f"has a token of more than {MAX_TOKEN_CHARS} characters")
        self.types: list[int] = self.beside("token_type", int)

    def wrong(self, key: str, what: str, hint: str = "") -> CheckpointError:
        return CheckpointError(self.file, f"tokenizer.ggml.{key}", what, hint=hint)

    def text(self, key: str) -> str:
        value = self.metadata.get(f"tokenizer.ggml.{key}")
        if not isinstance(value, str):
            raise self.wrong(key, "is missing" if value is None else f"{clean(repr(value))} is not a text")
        return value

    def flag(self, key: str, default: bool) -> bool:
        value = self.metadata.get(f"tokenizer.ggml.{key}", default)
        if not isinstance(value, bool):
            raise self.wrong(key, f"{clean(repr(value))} is not true or false")
        return value

    def column(self, key: str, *kinds: type) -> list[Any]:
        """A list of `kinds`. Raises CheckpointError where there is none, or another thing."""
        value = self.metadata.get(f"tokenizer.ggml.{key}")
        if value is None:
            raise self.wrong(key, "is missing")
        items = value.tolist() if hasattr(value, "tolist") else value  # readers give numbers as arrays
        names = " or ".join(kind.__name__ for kind in kinds)
        if not isinstance(items, list) or len(items) > MAX_TOKENS or not all(isinstance(i, kinds) for i in items):
            raise self.wrong(key, f"is not a list of at most {MAX_TOKENS:,} {names}")
        return items

    def beside(self, key: str, *kinds: type) -> list[Any]:
        """A list with one entry for each token."""
        items = self.column(key, *kinds)
        if len(items) != len(self.tokens):
            raise self.wrong(key, f"has {len(items):,} entries for {len(self.tokens):,} tokens")
        return items

    def roles(self) -> dict[str, str]:
        """Special tokens by role. Raises CheckpointError for an id beyond the vocabulary."""
        found = {}
        for role, key in ROLES.items():
            index = self.metadata.get(f"tokenizer.ggml.{key}")
            if index is None:
                continue
            if not isinstance(index, int) or not 0 <= index < len(self.tokens):
                raise self.wrong(key, f"{clean(repr(index))} is not one of {len(self.tokens):,} tokens")
            found[role] = self.tokens[index]
        return found


def _byte_level(facts: _Facts) -> tuple[Backend, bool]:
    name = facts.text("pre")
    if name not in SPLITTINGS:
        known = ", ".join(sorted(SPLITTINGS))
        raise facts.wrong("pre", f"{clean(name)!r} is not a splitting rule that zoo knows", hint=f"known: {known}")
    rule = SPLITTINGS[name]
    merges = [_pair(merge, facts) for merge in facts.column("merges", str)]
    vocab = {token: index for index, token in enumerate(facts.tokens)}
    backend = Backend(_bpe(facts, vocab, merges, ignore_merges=rule.whole_words))
    if rule.is_normalized:
        backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = rule.pre_tokenizer()
    backend.decoder = decoders.ByteLevel()
    return backend, rule.add_bos


def _sentencepiece(facts: _Facts) -> Backend:
    """SentencePiece's BPE: merges are not listed, the better-scored token is merged first."""
    if str(facts.metadata.get("general.architecture", "")).startswith("gemma"):
        raise facts.wrong(
            "model",
            "the tokenizer of Gemma cannot be rebuilt from a GGUF file",
            hint="use tokenizer.json from its Hugging Face folder",
        )
    vocab = {token: index for index, token in enumerate(facts.tokens)}
    unknown = facts.roles().get("unk_token")
    merges = _merges_by_score(facts, vocab)
    backend = Backend(_bpe(facts, vocab, merges, unk_token=unknown, fuse_unk=True, byte_fallback=True))
    # As sentencepiece does it, and Metaspace does not: the space is put before every text, one that begins with a
    # space too.
    spaces: list[Any] = [normalizers.Replace(" ", "▁")]
    steps: list[Any] = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    if facts.flag("add_space_prefix", True):
        spaces.insert(0, normalizers.Prepend("▁"))
        steps.append(decoders.Strip(" ", 1, 0))
    backend.normalizer, backend.decoder = normalizers.Sequence(spaces), decoders.Sequence(steps)
    return backend


def _bpe(facts: _Facts, vocab: dict[str, int], merges: list[tuple[str, str]], **options: Any) -> BPE:
    try:
        return BPE(vocab=vocab, merges=merges, **options)
    except BaseException as error:
        if not is_of_library(error):
            raise
        raise facts.wrong("merges", f"do not fit the tokens: {clean(error)}") from None


def _pair(merge: str, facts: _Facts) -> tuple[str, str]:
    left, _, right = merge.partition(" ")
    if not left or not right or " " in right:
        raise facts.wrong("merges", f"{clean(merge)!r} is not two tokens")
    return left, right


def _merges_by_score(facts: _Facts, vocab: dict[str, int]) -> list[tuple[str, str]]:
    """All ways to put a token together from two, best score first."""
    scores = facts.beside("scores", float, int)
    if not all(score == score for score in scores):
        raise facts.wrong("scores", "holds NaN")
    if not are_cut_in_bounds(facts.tokens):
        raise facts.wrong("tokens", "are too long: zoo cannot search for the pairs that make them")
    typed = zip(facts.tokens, facts.types, scores, strict=True)
    return merges_of({t: -score for t, type_, score in typed if type_ in (NORMAL, USER_DEFINED)}, vocab)


def _chat_templates(metadata: Mapping[str, Any], file: object) -> dict[str, str]:
    prefix = "tokenizer.chat_template"
    found = {}
    for key, value in metadata.items():
        if key == prefix or key.startswith(f"{prefix}."):
            if not isinstance(value, str):
                raise CheckpointError(file, key, "is not a text")
            found[key.removeprefix(prefix).removeprefix(".") or "default"] = value
    return found
