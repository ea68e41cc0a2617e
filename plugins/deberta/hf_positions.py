"""What a DeBERTa's config.json says of distances and positions; apart from `hf` for its length."""

from __future__ import annotations

from typing import Any

from zoo.errors import CheckpointError, clean
from zoo.weights import ForeignConfig, key

from .config import DebertaConfig

TERMS = {"c2p": "has_c2p", "p2c": "has_p2c"}
NORMS = {"layer_norm": "yes", "none": "no"}
KEYS = (
    key("has_positions", "position_biased_input", default=True),
    key("has_shared_projections", "share_att_key", default=False),
)


def read_positions(hf: ForeignConfig, max_seq_len: int) -> dict[str, Any]:
    """Our fields. Without distances it would be another model, which is refused."""
    if hf.get("relative_attention", False) is not True:
        what = f"{clean(repr(hf.raw.get('relative_attention', False)))} is not supported, only True is"
        raise CheckpointError(hf.file, "relative_attention", what, why="absent means false to transformers")
    values = hf.read(DebertaConfig, KEYS)
    farthest = hf.as_type(int, hf.get("max_relative_positions", -1), "max_relative_positions")
    buckets = hf.as_type(int, hf.get("position_buckets", -1), "position_buckets")
    values["max_distance"] = max_seq_len if farthest < 1 else farthest
    values["position_buckets"] = None if buckets < 1 else buckets
    values["has_position_norm"] = hf.one_of("norm_rel_ebd", NORMS, "none") == "yes"
    terms = _terms(hf)
    return values | {ours: theirs in terms for theirs, ours in TERMS.items()}


def _terms(hf: ForeignConfig) -> set[str]:
    """The terms of the scores beside that of words and words."""
    said = hf.get("pos_att_type", [])
    terms = [part.strip() for part in said.lower().split("|")] if isinstance(said, str) else said
    if not isinstance(terms, list) or not set(map(str, terms)) <= TERMS.keys():
        raise CheckpointError(hf.file, "pos_att_type", f"{clean(repr(said))} is not made of c2p and p2c")
    return set(terms)


def write_positions(c: DebertaConfig) -> dict[str, Any]:
    """The same, backwards."""
    return {
        "relative_attention": True,
        "position_biased_input": c.has_positions,
        "share_att_key": c.has_shared_projections,
        "max_relative_positions": c.max_distance,
        "position_buckets": -1 if c.position_buckets is None else c.position_buckets,
        "norm_rel_ebd": "layer_norm" if c.has_position_norm else "none",
        "pos_att_type": [theirs for theirs, ours in TERMS.items() if getattr(c, ours)],
    }
