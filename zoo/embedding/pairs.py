"""Pairs of texts before a head for classes: rows with token types, and the numbers that the head gives them.

Shapes: B pairs, T tokens, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from inspect import signature
from typing import Any

import torch
from torch import Tensor

from zoo.embedding.reading import Opened
from zoo.errors import CheckpointError, UsageError, clean
from zoo.files.json_file import read_json
from zoo.models.trial import field
from zoo.text.pairs import BOTH, TypedIds, frame_of, joined

Pair = tuple[str, str]
# Encoders whose tokenizers number the two texts of a pair, and the classes of tokenizers that never do.
TYPED = ("bert", "electra", "albert", "deberta")
UNTYPED = ("TokenizersBackend", "Roberta", "XLMRoberta", "Camembert", "MPNet", "DistilBert", "GPT2", "Llama")
TYPES = "token_type_ids"
UNBOUNDED = 1 << 30  # tokens; what tokenizers write where there is no limit is beyond


def as_pairs(given: Sequence[Any]) -> list[Pair]:
    """Pairs of texts, or one. Raises UsageError for what is neither."""
    found = [given] if len(given) == 2 and all(isinstance(text, str) for text in given) else list(given)
    for pair in found:
        if isinstance(pair, str) or len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            raise UsageError(f"{clean(repr(pair))} is not a pair of texts", hint='write ("first", "second")')
    return [(first, second) for first, second in found]


def pair_rows(opened: Opened, pairs: Sequence[Pair], *, cut: str = BOTH) -> list[TypedIds]:
    """The rows of pairs, cut to what the tokenizer and the model read; `cut` as in `zoo.text.pairs.joined`."""
    tokenizer, frame, limit = opened.ledger.tokenizer, frame_of(opened.ledger.tokenizer), limit_of(opened)
    rows = [joined(tokenizer, frame, pair, limit=None) for pair in pairs]
    if limit is None or all(len(row.ids) <= limit for row in rows):
        return rows
    opened.check_side()
    return [joined(tokenizer, frame, pair, limit=limit, cut=cut) for pair in pairs]


def limit_of(opened: Opened) -> int | None:
    """Tokens of a row at most."""
    said = tokenizer_settings(opened).get("model_max_length")
    limits = [said if isinstance(said, int) and said < UNBOUNDED else None, field(opened.ledger.config, "max_seq_len")]
    return min((n for n in limits if n), default=None)


def pair_logits(opened: Opened, rows: Sequence[TypedIds], batch_size: int) -> Tensor:
    """What the head gives each row, [B, C]."""
    model, found, at = opened.model, [], 0
    is_typed = reads_types(opened)
    num_types, last = (
        getattr(opened.ledger.config, "type_vocab_size", 0),
        max((max(row.types) for row in rows), default=0),
    )
    if is_typed and last >= num_types:
        what = f"{num_types}, but the tokenizer gives a token of a pair the type {last}"
        raise CheckpointError(opened.ledger.checkpoint.config_file, "type_vocab_size", what)
    for tokens, mask in opened.batches([row.ids for row in rows], batch_size):
        types = torch.zeros_like(tokens)
        for i, row in enumerate(rows[at : at + len(tokens)]):
            types[i, : len(row.types)] = torch.tensor(row.types)
        given: dict[str, Tensor] = {"token_types": types} if is_typed else {}
        found.append(model(tokens, attention_mask=mask, **given).logits)
        at += len(tokens)
    return torch.cat(found)


def reads_types(opened: Opened) -> bool:
    """Whether the model is told which tokens are of the second text, as it was when it was trained."""
    config: Any = opened.ledger.config
    is_able = "token_types" in signature(opened.model.forward).parameters and getattr(config, "type_vocab_size", 0)
    if not is_able or opened.ledger.family.name not in TYPED:
        return False
    settings = tokenizer_settings(opened)
    if isinstance(named := settings.get("model_input_names"), list):
        return TYPES in named
    named = str(settings.get("tokenizer_class", "")).removesuffix("Fast").removesuffix("Tokenizer")
    return named not in UNTYPED


def tokenizer_settings(opened: Opened) -> dict[str, Any]:
    """tokenizer_config.json, where there is one."""
    file = opened.ledger.checkpoint.folder / "tokenizer_config.json"
    return dict(read_json(file)) if file.is_file() else {}


def activation_of(opened: Opened) -> str | None:
    """How sentence-transformers turns a cross-encoder's one number into its score: score | sigmoid; None: not said.

    Raises CheckpointError for what it says and zoo does not do: another activation, a prompt before the texts.
    """
    checkpoint = opened.ledger.checkpoint
    file = checkpoint.folder / "config_sentence_transformers.json"
    raw = read_json(file) if file.is_file() else {}
    named: Any = None
    if raw.get("model_type") == "CrossEncoder":
        if raw.get("default_prompt_name") is not None:
            raise CheckpointError(file, "default_prompt_name", "zoo puts no prompt before pairs")
        named = raw.get("activation_fn")
    if named is None:
        file, group = checkpoint.config_file, checkpoint.config.get("sentence_transformers")
        named = group.get("activation_fn") if isinstance(group, dict) else None
        named = checkpoint.config.get("sbert_ce_default_activation_function") if named is None else named
    if named is None:
        return None
    known = {"Identity": "score", "Sigmoid": "sigmoid"}
    module, _, name = str(named).rpartition(".")
    if not module.startswith("torch.nn") or name not in known:
        what = f"{clean(repr(named))} is not an activation that zoo knows"
        raise CheckpointError(file, "activation_fn", what, why=f"it knows torch.nn's {' and '.join(known)}")
    return known[name]
