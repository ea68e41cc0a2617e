"""LongRoPE as llama.cpp's files have it: two tensors of divisors, for short texts and for long ones, and a factor.

llama.cpp takes those for long texts where its context is longer than the one of training; zoo and the released models,
where the text is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from zoo.anatomy.config import RopeConfig
from zoo.anatomy.frequencies import attention_factor
from zoo.errors import CheckpointError
from zoo.weights.entries import Ignore, ignore
from zoo.weights.foreign.config import ForeignConfig
from zoo.weights.gguf.rope import read_divisors

__all__ = ["FACTORS", "longrope_entries", "longrope_known", "read_longrope", "write_longrope"]

FACTORS = {"short_factor": "rope_factors_short.weight", "long_factor": "rope_factors_long.weight"}
FACTOR, ORIGINAL = "rope.scaling.attn_factor", "rope.scaling.original_context_length"


def longrope_known(hf: ForeignConfig, arch: str) -> dict[str, Any]:
    """The factor that a file with divisors may have, where others have 1."""
    found = hf.raw.get(f"{arch}.{FACTOR}")
    has_divisors = any(name in hf.tensors for name in FACTORS.values())
    return {f"{arch}.{FACTOR}": hf.as_type(float, found, FACTOR)} if has_divisors and found is not None else {}


def read_longrope(hf: ForeignConfig, arch: str, rope: RopeConfig, pairs: int, max_seq_len: int) -> RopeConfig:
    """`rope` as it is, or with the divisors of `pairs` pairs of channels that the file holds.

    Raises CheckpointError for one list of divisors without the other, and for ones beside another stretch.
    """
    held = {ours: hf.tensors[theirs] for ours, theirs in FACTORS.items() if theirs in hf.tensors}
    if not held:
        return rope
    if len(held) == 1:
        missing = next(theirs for ours, theirs in FACTORS.items() if ours not in held)
        raise CheckpointError(hf.file, missing, "is missing: of its two lists of divisors the file has one")
    if rope.scaling != "none":
        raise CheckpointError(hf.file, FACTORS["long_factor"], f"is given together with rope.scaling {rope.scaling}")
    original = hf.as_type(int, hf.get(f"{arch}.{ORIGINAL}", max_seq_len), ORIGINAL)
    factor = hf.as_type(float, hf.get(f"{arch}.{FACTOR}", 1.0), FACTOR)
    lists: dict[str, Any] = {ours: read_divisors(info, pairs) for ours, info in held.items()}
    return replace(rope, scaling="longrope", original_max_seq_len=original, attention_factor=factor, **lists)


def write_longrope(rope: RopeConfig, arch: str, max_seq_len: int) -> tuple[RopeConfig, dict[str, Any]]:
    """What is left of `rope` for other keys, and those of LongRoPE; nothing of another rope."""
    if rope.scaling != "longrope":
        return rope, {}
    keys = {f"{arch}.{ORIGINAL}": rope.original_max_seq_len or max_seq_len}
    keys |= {f"{arch}.{FACTOR}": float(attention_factor(rope, max_seq_len))}
    return RopeConfig(rope.theta, partial=rope.partial), keys


def longrope_entries(rope: RopeConfig) -> list[Ignore]:
    """The tensors that say what `rope` says."""
    if rope.scaling != "longrope":
        return []
    why = "its divisors are part of model.rope"
    return [ignore(theirs, why, witness=partial(_one, getattr(rope, ours) or [])) for ours, theirs in FACTORS.items()]


def _one(divisors: Sequence[float]) -> list[Sequence[float]]:
    return [divisors]
