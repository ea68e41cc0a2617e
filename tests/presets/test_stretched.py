"""A context stretched by overrides: the frequencies are those of YaRN for the old one, or nothing is built."""

from __future__ import annotations

import math
from typing import Any

import pytest

import zoo
from zoo.anatomy.frequencies import frequencies
from zoo.errors import ConfigError

LONGER = ("rope=yarn", "model.max_seq_len=1024")


def test_a_longer_context_beside_yarn_needs_the_old_one() -> None:
    """Else the new one would count as that of training: other channels would be kept, and nothing would tell."""
    with pytest.raises(ConfigError, match=r"model\.max_seq_len=1024 .*\n.*model\.rope\.original_max_seq_len=TOKENS"):
        zoo.compose("tiny", *LONGER)
    with pytest.raises(ConfigError, match="original_max_seq_len"):
        zoo.load("tiny", *LONGER)


def test_frequencies_of_a_stretched_context_are_those_of_yarn_over_the_old_one() -> None:
    """A pair that turns 32 times in the old context keeps its frequency, one that turns less than once gets a quarter
    of it (arXiv:2309.00071, section 3.2)."""
    config: Any = zoo.compose("tiny", *LONGER, "model.rope.original_max_seq_len=256")
    found = frequencies(config.head_dim, config.rope, config.max_seq_len)
    plain = [config.rope.theta ** (-2 * i / config.head_dim) for i in range(config.head_dim // 2)]
    turns = [256 * f / (2 * math.pi) for f in plain]
    for f, before, turned in zip(found, plain, turns, strict=True):
        if turned > 32:
            assert f == before
        if turned < 1:
            assert f == pytest.approx(before / 4, rel=1e-12)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("tiny", ("model.max_seq_len=1024",)),  # no scaling
        ("tiny", ("rope=yarn",)),  # the preset's own context is that of training
        ("tiny", ("rope=linear", "model.max_seq_len=1024")),  # looks at no context
        ("llama3.1-8b", ("rope=yarn", "model.max_seq_len=262144")),  # the preset says 8192
    ],
)
def test_what_leaves_nothing_open_is_composed(model: str, words: tuple[str, ...]) -> None:
    zoo.compose(model, *words)
