"""Numbers that no model has, whatever its family: a field's name tells what kind of number it is. Needs no torch.

The bounds are wide: each leaves a factor of ten or more to the most extreme model released.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

from zoo.errors import ConfigError

EPS = (0.0, 0.1)  # released: 1e-12 to 1e-5; a tenth of what it is added to is no guard against zero
ABOVE_ZERO = math.ulp(0.0)
RANGES: dict[str, tuple[float, float]] = {
    "theta": (math.nextafter(1.0, 2.0), 1e13),  # released: 1e4 to 3e9
    "factor": (ABOVE_ZERO, 1e4),  # released: 1 to 64
    "partial": (ABOVE_ZERO, 1.0),
    "low_freq_factor": (ABOVE_ZERO, 1e4),
    "high_freq_factor": (ABOVE_ZERO, 1e4),
    "original_max_seq_len": (2, math.inf),
    "beta_fast": (ABOVE_ZERO, 1e4),
    "beta_slow": (ABOVE_ZERO, 1e4),
    "attention_factor": (ABOVE_ZERO, 100.0),  # released: 1 to 1.4
    "mscale": (0.0, 100.0),  # released: 0 to 1
    "mscale_all_dim": (0.0, 100.0),
    "short_factor": (ABOVE_ZERO, 1e4),  # released: 1 to 65
    "long_factor": (ABOVE_ZERO, 1e4),
    "attn_softcap": (ABOVE_ZERO, 1e4),  # released: 20 to 50
    "final_softcap": (ABOVE_ZERO, 1e4),
    "query_pre_attn_scalar": (ABOVE_ZERO, 1e6),  # released: 144 to 256
    "routed_scale": (ABOVE_ZERO, 1e3),  # released: 1 to 16
    "embedding_multiplier": (ABOVE_ZERO, 1e4),  # released: 12
    "attention_multiplier": (ABOVE_ZERO, 1e4),  # released: 0.0078 to 0.016
    "residual_multiplier": (ABOVE_ZERO, 1e4),  # released: 0.22
    "logits_scaling": (ABOVE_ZERO, 1e4),  # released: 6 to 16
    "logit_scale": (ABOVE_ZERO, 1e4),  # released: 0.0625 to 0.83
    "scale_depth": (ABOVE_ZERO, 1e4),  # released: 1.4
    "mlp_ratio": (ABOVE_ZERO, 100.0),  # released: 4 to 5
    "num_layers": (1, math.inf),  # the numbers of other layers, as of dense ones, may be 0
    "num_decoder_layers": (1, math.inf),
}  # fmt: skip
FROM_ONE = ("_size", "_dim", "_rank", "_len", "window", "window_size", "experts_per_token", "groups_per_token")


def refuse_out_of_range(part: Any, path: str = "model") -> None:
    """Raise ConfigError for a field of a config, or of a config within it, that is out of its kind's range."""
    for f in fields(part):
        value, where = getattr(part, f.name), f"{path}.{f.name}"
        if is_dataclass(value):
            refuse_out_of_range(value, where)
        elif bounds := bounds_of(f.name):
            for number in numbers_in(value):
                if not bounds[0] <= number <= bounds[1]:
                    raise ConfigError(f"{where}={number!r} is {in_words(*bounds)}")


@cache
def bounds_of(name: str) -> tuple[float, float] | None:
    """The least and the most that a field of this name may be; None where its name tells no kind."""
    if name == "eps" or name.endswith("_eps"):
        return EPS
    if name in RANGES:
        return RANGES[name]
    if name.endswith(FROM_ONE):
        return 1, math.inf
    return (0, math.inf) if name.startswith("num_") else None


def numbers_in(value: Any) -> Iterable[float]:
    """The numbers of a field, which may be one, a list or none."""
    several = value if isinstance(value, list) else [value]
    return [n for n in several if isinstance(n, int | float) and not isinstance(n, bool)]


def in_words(low: float, high: float) -> str:
    """What is wrong with a number that is not between the two."""
    if high == math.inf:
        return f"below {low:g}"
    return f"not above {math.floor(low)} and up to {high:g}" if low % 1 else f"not from {low:g} to {high:g}"
