"""The last value that a number may have, and the first that is refused."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from zoo.anatomy.config import MAX_SIZE, RopeConfig, refuse_absurd
from zoo.anatomy.frequencies import check_factors
from zoo.anatomy.ranges import refuse_out_of_range
from zoo.errors import ConfigError
from zoo.registry import installed

LLAMA = installed()["llama"].config_class.tiny()
MOST = {
    "theta": 1e13, "factor": 1e4, "partial": 1.0, "high_freq_factor": 1e4, "beta_fast": 1e4, "attention_factor": 100.0,
    "mscale": 100.0, "mscale_all_dim": 100.0,
}  # fmt: skip


@pytest.mark.parametrize(("name", "most"), MOST.items())
def test_rotary_numbers_have_a_last_value(name: str, most: float) -> None:
    refuse_out_of_range(RopeConfig(**{name: most}))
    with pytest.raises(ConfigError, match=name):
        refuse_out_of_range(RopeConfig(**{name: math.nextafter(most, math.inf)}))


@pytest.mark.parametrize("name", [name for name in MOST if not name.startswith("mscale")])
def test_they_are_above_zero(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        refuse_out_of_range(RopeConfig(**{name: 0.0}))


@pytest.mark.parametrize("name", ["short_factor", "long_factor"])
def test_each_of_several_numbers_is_held(name: str) -> None:
    refuse_out_of_range(RopeConfig(**{name: [1.0, 1e4]}))
    with pytest.raises(ConfigError, match=name):
        refuse_out_of_range(RopeConfig(**{name: [1.0, 0.0]}))


def test_the_largest_size_is_allowed() -> None:
    refuse_absurd(replace(LLAMA, vocab_size=MAX_SIZE))
    with pytest.raises(ConfigError, match="vocab_size"):
        refuse_absurd(replace(LLAMA, vocab_size=MAX_SIZE + 1))


def test_no_family_lists_its_layers_before_it_counts_them() -> None:
    """A list of so many would take all memory; a range of more than 2**63 has no length."""
    for name in installed().families:
        tiny = installed()[name].config_class.tiny()
        if hasattr(tiny, "num_layers"):
            with pytest.raises(ConfigError, match=r"num_layers.*more than 10,000 are refused"):
                tiny.from_dict(tiny.to_dict() | {"num_layers": 2**70})


def longrope(num_factors: int, partial: float) -> Any:
    factors = [1.0] * num_factors
    rope = RopeConfig(
        scaling="longrope", short_factor=factors, long_factor=factors, partial=partial, original_max_seq_len=8
    )
    return replace(LLAMA, head_dim=12, rope=rope)


@pytest.mark.parametrize(("partial", "pairs"), [(1.0, 6), (0.5, 3), (0.75, 4)])
def test_there_are_as_many_factors_as_pairs_that_rotate(partial: float, pairs: int) -> None:
    check_factors(longrope(pairs, partial))
    for wrong in (pairs - 1, pairs + 1):
        with pytest.raises(ConfigError, match=f"{wrong} numbers, but {pairs} "):
            check_factors(longrope(wrong, partial))
