"""SigLIP 2 for pictures of any size: what fits, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

import zoo
from zoo.errors import CheckpointError, ConfigError, UsageError
from zoo.registry import installed
from zoo.vision.flexible import fitting_size
from zoo.weights import ForeignConfig

TINY: Any = installed()["siglip2"].config_class.tiny()


def test_patches_and_shapes_that_do_not_fit_are_refused() -> None:
    model = zoo.build(replace(TINY, text=None), device="cpu")
    for patches, shapes, message in (
        (torch.zeros(1, 4, 47), [[2, 2]], "are not"),
        (torch.zeros(1, 4, 48), [[2, 2], [1, 1]], "are not"),
        (torch.zeros(1, 4, 48), [[2, 3]], "2 rows of 3 patches are not within the 4"),
        (torch.zeros(1, 4, 48), [[0, 3]], "0 rows"),
        (torch.zeros(1, 4, 48), [[2.0, 2.0]], "are not integers"),
    ):
        with pytest.raises(UsageError, match=message):
            model(pixels=patches, shapes=torch.tensor(shapes))
    for none in (torch.zeros(0, 3, 16, 16), torch.zeros(0, 4, 48)):
        with pytest.raises(UsageError, match="there are no pictures"):
            model(pixels=none, shapes=None if none.ndim == 4 else torch.zeros(0, 2, dtype=torch.long))
    with pytest.raises(UsageError, match="no text tower"):
        model(torch.zeros(1, 2, dtype=torch.long))


def test_positions_are_those_of_a_square() -> None:
    hf = installed()["siglip2"].dialect("hf")
    raw = hf.to_config(TINY)
    assert hf.from_config(ForeignConfig(raw)) == TINY
    odd = raw | {"vision_config": raw["vision_config"] | {"num_patches": 10}}
    with pytest.raises(CheckpointError, match="10 positions are not those of a square"):
        hf.from_config(ForeignConfig(odd))
    with pytest.raises(ConfigError, match="not a multiple"):
        replace(TINY, vision=replace(TINY.vision, image_size=14))


@pytest.mark.parametrize("sides", [(480, 640), (16, 16), (1000, 30), (7, 3000), (333, 334)])
def test_a_picture_keeps_its_proportions_within_the_patches_it_may_have(sides: tuple[int, int]) -> None:
    height, width = fitting_size(*sides, 16, 256)
    assert not height % 16
    assert not width % 16
    rows, columns = height // 16, width // 16
    assert 256 - max(rows, columns) <= rows * columns <= 256
    assert abs(rows / columns - sides[0] / sides[1]) <= 1.5 * max(1 / columns, rows / columns**2)
