"""Pictures become the tiles of transformers' Llama4ImageProcessor, bit for bit; what cannot become tiles is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.some import some
from tests.vision.tiled import CASES, FILE, told, write_picture
from zoo.errors import CheckpointError, UsageError
from zoo.vision import Processing, pixels_of, read_image, tiles_of

Image = pytest.importorskip("PIL.Image", reason="the vision extra is not installed")
EXPECTED = json.loads(FILE.read_text(encoding="utf-8"))
RAW = {"image_processor_type": "Llama4ImageProcessor"}
RELEASED = {  # as in meta-llama/Llama-4-Scout-17B-16E-Instruct
    "crop_size": None, "data_format": "channels_first", "default_to_square": True, "device": None,
    "do_center_crop": None, "do_convert_rgb": True, "do_normalize": True, "do_rescale": True, "do_resize": True,
    "image_mean": [0.5, 0.5, 0.5], "image_processor_type": "Llama4ImageProcessorFast", "image_std": [0.5, 0.5, 0.5],
    "input_data_format": None, "max_patches": 16, "processor_class": "Llama4Processor", "resample": 2,
    "rescale_factor": 0.00392156862745098, "resize_to_max_canvas": False, "return_tensors": None,
    "size": {"height": 336, "width": 336},
}  # fmt: skip


@pytest.mark.parametrize("name", some(CASES, *(name for name in CASES if name not in ("as released", "huge"))))
def test_tiles_are_those_of_the_reference(name: str, tmp_path: Path) -> None:
    """Numbers equal those kept; their mean and sum but for the order of sums in float64, where a byte makes 1e-7."""
    height, width, kind, settings = CASES[name]
    image = read_image(write_picture(tmp_path / "a.png", height, width, kind))
    tiles, (grid,) = tiles_of([image], Processing.of(RAW | settings))
    expected = torch.tensor(EXPECTED[name]["tiles"], dtype=torch.float64)
    assert list(grid) == EXPECTED[name]["grid"]
    assert tiles.shape[0] == len(expected) == grid[0] * grid[1] + (grid != (1, 1))
    found = torch.tensor(told(tiles), dtype=torch.float64)
    assert torch.equal(found[:, :-2], expected[:, :-2])
    assert (found - expected).abs().max() < 1e-12


def test_the_released_settings_are_the_defaults() -> None:
    assert Processing.of(RELEASED) == Processing.of(RAW)
    assert Processing.of(RELEASED | {"resize_to_max_canvas": True}) != Processing.of(RAW)


def test_tiles_of_several_pictures_follow_each_other(tmp_path: Path) -> None:
    how = Processing.of(RAW | {"size": {"height": 48, "width": 48}})
    images = [read_image(write_picture(tmp_path / "a.png", *sides, "RGB")) for sides in ((60, 110), (30, 30), (90, 20))]
    tiles, grids = tiles_of(images, how)
    alone = [tiles_of([image], how) for image in images]
    assert torch.equal(tiles, torch.cat([each for each, _ in alone]))
    assert grids == [grid for _, (grid,) in alone]


def test_pictures_are_as_they_were(tmp_path: Path) -> None:
    image = read_image(write_picture(tmp_path / "a.png", 48, 48, "RGB"))
    before = image.tobytes()
    tiles, _ = tiles_of([image], Processing.of(RAW | {"size": 48, "do_rescale": False, "do_normalize": False}))
    tiles.mul_(0)
    assert image.tobytes() == before


@pytest.mark.parametrize(
    ("keys", "name"),
    [
        ({"max_patches": 0}, "max_patches"),
        ({"max_patches": 2.5}, "max_patches"),
        ({"max_patches": None}, "max_patches"),
        ({"max_patches": 1 << 40}, "max_patches"),
        ({"max_patches": 4096, "size": {"height": 1 << 14, "width": 1 << 14}}, "max_patches"),
        ({"size": {"height": 48, "width": 24}}, "size"),
        ({"size": {"shortest_edge": 48}}, "size"),
        ({"size": {"height": 0, "width": 0}}, "size"),
        ({"size": {"height": 1 << 30, "width": 1 << 30}}, "size"),
        ({"resample": 0}, "resample"),  # torch has it for whole tensors, and rounds otherwise
        ({"resample": None}, "resample"),
        ({"resize_to_max_canvas": "yes"}, "resize_to_max_canvas"),
        ({"do_resize": False}, "do_resize"),
        ({"do_resize": None}, "do_resize"),
        ({"do_rescale": False}, "do_rescale"),
        ({"do_center_crop": True}, "do_center_crop"),
        ({"image_std": [0.5, 0, 0.5]}, "image_std"),
        ({"tile_overlap": 3}, "tile_overlap"),
    ],
    ids=str,
)
def test_settings_of_which_no_tiles_come_are_refused_by_name(keys: dict[str, Any], name: str) -> None:
    with pytest.raises(CheckpointError, match=rf"preprocessor_config\.json: {name}: "):
        Processing.of(RAW | keys)


def test_settings_of_another_kind_of_model_are_refused() -> None:
    image = Image.new("RGB", (30, 30))
    with pytest.raises(UsageError, match="cut none into tiles"):
        tiles_of([image], Processing.of({"image_processor_type": "SiglipImageProcessor"}))
    with pytest.raises(UsageError, match="cut them into tiles"):
        pixels_of([image], Processing.of(RAW))


def test_the_most_tiles_of_the_smallest_picture_take_no_time() -> None:
    image = Image.new("RGB", (1, 1))
    how = Processing.of(RAW | {"max_patches": 4096, "size": 2, "resize_to_max_canvas": True})
    tiles, grids = tiles_of([image], how)
    assert (len(tiles), grids) == (4097, [(64, 64)])
