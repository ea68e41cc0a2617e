"""Heads that are shared."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from zoo.errors import ConfigError
from zoo.testing.caching import caching, decoding_one_by_one_equals_the_whole
from zoo.testing.check import Skipped
from zoo.testing.subject import Subject


@torch.no_grad()
def an_odd_ratio_of_heads_decodes_as_well(s: Subject) -> str:
    """Three query heads to a key/value head: powers of two hide heads that are repeated in the wrong order."""
    heads, kv_heads = (getattr(caching(s).config, name, None) for name in ("num_heads", "num_kv_heads"))
    if not isinstance(heads, int) or not isinstance(kv_heads, int):
        raise Skipped("it has no model.num_heads and model.num_kv_heads of which one could be a multiple of the other")
    if heads > kv_heads and heads // kv_heads % 2:
        return f"{heads}/{kv_heads}, as in all checks"
    odd: dict[str, Any] = {"num_heads": 3 * kv_heads}
    try:
        config = replace(s.config, **odd)
    except ConfigError:
        raise Skipped(f"its heads cannot be {3 * kv_heads}/{kv_heads} with its other fields as they are") from None
    return f"{3 * kv_heads}/{kv_heads}: {decoding_one_by_one_equals_the_whole(Subject(s.family, config))}"


PROPERTIES = (an_odd_ratio_of_heads_decodes_as_well,)
