"""Rotary frequencies that old files keep are held to those that the config gives, of the channels that rotate."""

from __future__ import annotations

from dataclasses import replace

import pytest

from zoo.anatomy.config import RopeConfig
from zoo.registry import installed
from zoo.weights.hf_layout import ignore_frequencies


@pytest.mark.parametrize(("partial", "rotating"), [(1.0, 12), (0.5, 6), (0.34, 4)])
def test_they_are_of_the_channels_that_rotate(partial: float, rotating: int) -> None:
    """theta^(-2 i / d) for the d of 12 channels that rotate, a fourth of each where they are stretched four times."""
    config = replace(
        installed()["glm"].config_class.tiny(),
        rope=RopeConfig(theta=500.0, partial=partial, scaling="linear", factor=4.0),
    )
    plain = [500.0 ** (-i / rotating) for i in range(0, rotating, 2)]
    witness = ignore_frequencies("inv_freq", 12, config).witness
    assert witness is not None
    stretched, unstretched = witness()
    assert unstretched == pytest.approx(plain, rel=1e-12)
    assert stretched == pytest.approx([f / 4 for f in plain], rel=1e-12)
