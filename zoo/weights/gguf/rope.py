"""Rotary settings as llama.cpp's files have them: keys under `rope`, and divisors of the frequencies as a tensor."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any

from zoo.anatomy.config import ModelConfig, RopeConfig, one_of
from zoo.anatomy.frequencies import frequencies
from zoo.errors import CheckpointError, UsageError
from zoo.files.tensor_info import TensorInfo
from zoo.weights.foreign.config import ForeignConfig, Key, key

__all__ = [
    "DIVISORS",
    "divisors_of",
    "is_divided",
    "read_divisors",
    "read_rope",
    "rope_keys",
    "temperature_key",
    "write_rope",
]

DIVISORS, LONG = "rope_freqs.weight", "rope_factors_long.weight"


@dataclass
class RopeMetadata(ModelConfig):
    """What the metadata may hold of rotary positions, and what llama.cpp takes where it does not."""

    theta: float = 10_000.0  # base of the rotary frequencies
    scaling: str = "linear"  # none | linear | yarn
    factor: float = 1.0  # how many times the context is stretched
    original: int | None = None  # tokens seen in pretraining
    beta_fast: float = 32.0  # as in RopeConfig
    beta_slow: float = 1.0  # as in RopeConfig
    log_multiplier: float | None = None  # yarn as in DeepSeek: a tenth of the weight of the temperature


def rope_keys(arch: str) -> tuple[Key, ...]:
    """Where they stand."""
    scaling = f"{arch}.rope.scaling"
    return (
        key("theta", f"{arch}.rope.freq_base"),
        key("scaling", f"{scaling}.type"),
        key("factor", f"{scaling}.factor", also=(f"{arch}.rope.scale_linear",)),
        key("original", f"{scaling}.original_context_length"),
        key("beta_fast", f"{scaling}.yarn_beta_fast"),
        key("beta_slow", f"{scaling}.yarn_beta_slow"),
    )


def temperature_key(arch: str) -> Key:
    """Where DeepSeek's temperature stands, which no other architecture knows."""
    return key("log_multiplier", f"{arch}.rope.scaling.yarn_log_multiplier")


def read_rope(hf: ForeignConfig, arch: str, head_dim: int, max_seq_len: int, *more: Key, **known: Any) -> RopeConfig:
    """Those of heads of `head_dim` channels; `more` are keys of this architecture, `known` fields that it sets."""
    keys = [k for k in (*rope_keys(arch), *more) if any(name in hf for name in (k.theirs, *k.also))]
    m = RopeMetadata(**hf.read(RopeMetadata, keys))
    if m.scaling == "longrope" and LONG in hf.tensors:  # whose divisors say it all
        m.scaling = "none"
    one_of(f"{arch}.rope.scaling.type", m.scaling, ("none", "linear", "yarn"))
    if info := hf.tensors.get(DIVISORS):
        if m.factor != 1.0:
            raise CheckpointError(info.file, info.name, f"is given together with a rope.scaling.factor of {m.factor}")
        return _divided(m.theta, read_divisors(info, head_dim // 2), head_dim, max_seq_len)
    if m.scaling == "none" or (m.scaling == "linear" and m.factor == 1.0):
        return RopeConfig(m.theta, **known)
    if m.scaling == "linear":
        return RopeConfig(m.theta, m.scaling, m.factor, **known)
    if m.log_multiplier:
        known |= dict.fromkeys(("mscale", "mscale_all_dim"), float(f"{10 * m.log_multiplier:.6g}"))
    return RopeConfig(m.theta, m.scaling, m.factor, m.original, beta_fast=m.beta_fast, beta_slow=m.beta_slow, **known)


def write_rope(rope: RopeConfig, arch: str, *, has_divisors: bool = False) -> dict[str, Any]:
    """The same, backwards. Raises UsageError for what llama.cpp does not compute.

    `has_divisors`: of this architecture llama.cpp reads divisors of the frequencies, which `divisors_of` gives.
    """
    scaling = f"{arch}.rope.scaling"
    out: dict[str, Any] = {f"{arch}.rope.freq_base": float(rope.theta)}
    if rope.scaling == "none" or (has_divisors and is_divided(rope)):
        return out
    is_usual = rope.attention_factor is None or (
        rope.scaling == "yarn" and rope.mscale is None and math.isclose(rope.attention_factor, usual_factor(rope))
    )
    is_plain = is_usual and rope.truncate and rope.mscale == rope.mscale_all_dim
    if rope.scaling not in ("linear", "yarn") or not is_plain:
        what = f"llama.cpp cannot compute model.rope.scaling={rope.scaling} of {arch} with all its settings"
        raise UsageError(what, hint="write hf or zoo")
    out |= {f"{scaling}.type": rope.scaling, f"{scaling}.factor": float(rope.factor)}
    if rope.scaling == "linear":
        return out
    if rope.original_max_seq_len is not None:
        out[f"{scaling}.original_context_length"] = rope.original_max_seq_len
    if rope.mscale is not None:
        out[f"{scaling}.yarn_log_multiplier"] = 0.1 * rope.mscale
    usual = RopeConfig()
    betas = {name: float(getattr(rope, name)) for name in ("beta_fast", "beta_slow")}
    return out | {f"{scaling}.yarn_{name}": v for name, v in betas.items() if v != getattr(usual, name)}


def usual_factor(rope: RopeConfig) -> float:
    """What YaRN multiplies rotated channels by where a file does not say it."""
    return 0.1 * math.log(max(rope.factor, 1.0)) + 1.0


def is_divided(rope: RopeConfig) -> bool:
    """Whether every frequency is divided by a number of its own, and nothing else changes."""
    if rope.scaling == "longrope":
        return rope.short_factor == rope.long_factor and rope.attention_factor == 1.0
    return rope.scaling == "llama3"


def divisors_of(rope: RopeConfig, head_dim: int, max_seq_len: int) -> list[float]:
    """The divisors of a rope that `is_divided`."""
    if rope.scaling == "longrope":
        return list(rope.short_factor or [])
    plain, divided = (frequencies(head_dim, r, max_seq_len) for r in (RopeConfig(rope.theta), rope))
    return [p / d for p, d in zip(plain, divided, strict=True)]


def _divided(theta: float, divisors: list[float], head_dim: int, max_seq_len: int) -> RopeConfig:
    """Frequencies divided one by one: bands of Llama 3.1 or 4 where it is these, else as LongRoPE spells divisors."""
    plain = frequencies(head_dim, RopeConfig(theta), max_seq_len)
    for high in (4.0, 1.0):
        released = RopeConfig(theta, "llama3", max(divisors), 8192, high_freq_factor=high)
        banded = frequencies(head_dim, released, max_seq_len)
        if all(abs(f / d - b) < 1e-5 * b for f, d, b in zip(plain, divisors, banded, strict=True)):
            return released
    return RopeConfig(theta, "longrope", short_factor=divisors, long_factor=divisors, attention_factor=1.0)


def read_divisors(info: TensorInfo, count: int) -> list[float]:
    """The few numbers of rope_freqs.weight, which are settings kept as a tensor."""
    if (info.dtype, info.shape) != ("float32", (count,)) or info.offset is None:
        raise CheckpointError(info.file, info.name, f"{info.dtype} {list(info.shape)} is not {count} float32 divisors")
    with info.file.open("rb") as file:
        file.seek(info.offset)
        divisors = list(struct.unpack(f"<{count}f", file.read(info.nbytes)))
    if not all(0 < d < math.inf for d in divisors):
        raise CheckpointError(info.file, info.name, "holds a divisor that is not a number above 0")
    return divisors
