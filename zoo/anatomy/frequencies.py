"""Rotary frequencies in plain float64: what the models rotate by and what the reports draw. Needs no torch."""

from __future__ import annotations

import math

from zoo.anatomy.config import RopeConfig
from zoo.errors import ConfigError


def frequencies(dim: int, rope: RopeConfig, max_seq_len: int, length: int | None = None) -> list[float]:
    """Angle per position, in radians, of each of the dim/2 channel pairs.

    `length` is the number of tokens of the sequence, on which only `dynamic` and `longrope` depend.
    """
    original = rope.original_max_seq_len or max_seq_len
    theta = rope.theta
    if rope.scaling == "dynamic":
        theta = dynamic_theta(dim, rope, max_seq_len, length or 0)
    plain = [theta ** (-2 * i / dim) for i in range(dim // 2)]
    match rope.scaling:
        case "linear":  # position interpolation (arXiv:2306.15595)
            return [f / rope.factor for f in plain]
        case "llama3":
            return [_llama3(f, rope, original) for f in plain]
        case "yarn":
            return _yarn(plain, dim, rope, original)
        case "longrope":  # arXiv:2402.13753
            divisors = rope.long_factor if (length or 0) > original else rope.short_factor
            if len(divisors or []) != len(plain):
                found = f"model.rope.short_factor or long_factor has {len(divisors or [])} numbers"
                raise ConfigError(f"{found}, but {len(plain)} channel pairs rotate")
            return [f / d for f, d in zip(plain, divisors or [], strict=True)]
    return plain


def check_factors(config: object) -> None:
    """Raise ConfigError for a config with a divisor too many or too few for the channel pairs that rotate."""
    dim = next((n for n in ("rotary_dim", "rope_head_dim", "head_dim") if getattr(config, n, None) is not None), None)
    for name in ("rope", "local_rope"):
        rope = getattr(config, name, None)
        if dim is None or not isinstance(rope, RopeConfig) or rope.scaling != "longrope":
            continue
        pairs = int(getattr(config, dim) * rope.partial) // 2
        for key in ("short_factor", "long_factor"):
            if (found := len(getattr(rope, key) or [])) != pairs:
                raise ConfigError(f"model.{name}.{key} has {found} numbers, but {pairs} channel pairs rotate")


def dynamic_theta(dim: int, rope: RopeConfig, max_seq_len: int, length: float) -> float:
    """Base of NTK-aware scaling that grows with the sequence (u/bloc97, u/emozilla 2023; transformers)."""
    if dim < 4:
        raise ConfigError("model.rope.scaling=dynamic needs two or more channel pairs that rotate, but one does")
    stretch = rope.factor * max(length, max_seq_len) / max_seq_len - (rope.factor - 1)
    return rope.theta * stretch ** (dim / (dim - 2))


def attention_factor(rope: RopeConfig, max_seq_len: int) -> float:
    """The factor on cos and sin, by whose square the scores grow: YaRN's temperature, LongRoPE's likewise."""
    if rope.attention_factor is not None:
        return rope.attention_factor
    if rope.scaling == "yarn":
        if rope.mscale and rope.mscale_all_dim:
            return yarn_mscale(rope.factor, rope.mscale) / yarn_mscale(rope.factor, rope.mscale_all_dim)
        return yarn_mscale(rope.factor)
    if rope.scaling == "longrope":
        original = rope.original_max_seq_len or max_seq_len
        # A config that names no factor means the stretch that its lengths show.
        stretch = rope.factor if rope.factor != 1.0 else max_seq_len / original
        return 1.0 if stretch <= 1 else math.sqrt(1 + math.log(stretch) / math.log(original))
    return 1.0


def yarn_mscale(factor: float, weight: float = 1.0) -> float:
    """0.1 * weight * ln(factor) + 1: the square root of YaRN's inverse temperature (arXiv:2309.00071, eq. 22)."""
    return 1.0 if factor <= 1 else 0.1 * weight * math.log(factor) + 1.0


def _llama3(frequency: float, rope: RopeConfig, original: int) -> float:
    """LLaMA 3.1's bands (arXiv:2407.21783): short wavelengths kept, long ones stretched, a blend between."""
    turns = original * frequency / (2 * math.pi)  # in the original context
    width = rope.high_freq_factor - rope.low_freq_factor
    keep = min(max((turns - rope.low_freq_factor) / width, 0.0), 1.0) if width else float(turns > rope.low_freq_factor)
    return frequency * (keep + (1 - keep) / rope.factor)


def _yarn(plain: list[float], dim: int, rope: RopeConfig, original: int) -> list[float]:
    """YaRN's ramp between kept and interpolated channels (arXiv:2309.00071; rounding as its authors' code)."""

    def channel_that_turns(times: float) -> float:
        return dim * math.log(original / (times * 2 * math.pi)) / (2 * math.log(rope.theta))

    low, high = channel_that_turns(rope.beta_fast), channel_that_turns(rope.beta_slow)
    if rope.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, dim - 1)
    width = high - low or 0.001  # the reference's guard against a ramp of no width
    stretched = [min(max((i - low) / width, 0.0), 1.0) for i in range(len(plain))]
    return [f * (1 - s) + f / rope.factor * s for f, s in zip(plain, stretched, strict=True)]
