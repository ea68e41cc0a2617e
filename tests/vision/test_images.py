"""Pictures from files of every kind: what their numbers mean, and what is no picture or says too little."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from zoo.errors import CheckpointError, UsageError
from zoo.vision import Processing, patches_of, pixels_of, read_image
from zoo.vision.images import on_white

Image = pytest.importorskip("PIL.Image", reason="the vision extra is not installed")


@pytest.mark.parametrize("name", ["grey.png", "grey.tif"])
def test_16_bits_of_grey_are_256_shades(name: str, tmp_path: Path) -> None:
    """Pillow's own conversion takes all from 255 on for white."""
    deep = np.array([[0, 128, 129, 257], [32_896, 65_278, 65_407, 65_535]], np.uint16)
    Image.fromarray(deep).save(tmp_path / name)
    found = np.asarray(on_white(read_image(tmp_path / name)))
    assert found[..., 0].tolist() == [[0, 0, 1, 1], [128, 254, 255, 255]]  # value / 65535 * 255, rounded
    assert np.array_equal(found, np.repeat(found[..., :1], 3, axis=2))


def test_a_transparent_shade_of_16_bits_is_white(tmp_path: Path) -> None:
    Image.fromarray(np.array([[1000, 1001]], np.uint16)).save(tmp_path / "a.png", transparency=1000)
    assert np.asarray(on_white(read_image(tmp_path / "a.png")))[..., 0].tolist() == [[255, 4]]


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_32_bit_numbers_are_refused_for_nothing_says_what_is_white(kind: Any, tmp_path: Path) -> None:
    Image.fromarray(np.ones((4, 5), kind)).save(tmp_path / "a.tif")
    with pytest.raises(UsageError, match="a picture of 32-bit numbers is not read"):
        on_white(read_image(tmp_path / "a.tif"))


def test_colours_that_pillow_cannot_convert_are_refused() -> None:
    with pytest.raises(UsageError, match="a picture of colours La is not read"):
        on_white(Image.new("La", (2, 2)))


@pytest.mark.parametrize(("form", "place"), [("DDS", 80), ("BLP", 4), ("AVIF", 83)])
def test_damaged_files_are_no_pictures(form: str, place: int, tmp_path: Path) -> None:
    """Their readers raise NotImplementedError or RuntimeError."""
    path = tmp_path / "picture"
    try:
        Image.new("P" if form == "BLP" else "RGB", (16, 16)).save(path, form)
    except (KeyError, OSError):
        pytest.skip(f"this Pillow writes no {form}")
    data = bytearray(path.read_bytes())
    data[place : place + 4] = bytes(4)
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="it cannot be read as a picture"):
        read_image(path)


@pytest.mark.filterwarnings("ignore")  # Pillow tells what it skips
def test_a_damaged_note_of_a_camera_is_no_traceback(tmp_path: Path) -> None:
    """Every byte of it, one after the other: Pillow reads the whole note when it turns a picture."""
    exif, path = Image.Exif(), tmp_path / "a.jpg"
    exif[0x0112], exif[0x010E] = 6, "said"
    Image.new("RGB", (8, 8)).save(path, exif=exif)
    data = path.read_bytes()
    begin = data.index(b"Exif")
    for place in range(begin, begin + 64):
        for value in (0, 1, 255):
            path.write_bytes(data[:place] + bytes([value]) + data[place + 1 :])
            with suppress(CheckpointError):
                assert read_image(path).size == (8, 8)


def test_pictures_left_in_several_sizes_are_refused() -> None:
    images = [Image.new("RGB", size) for size in ((8, 9), (9, 8))]
    for keys in ({"do_resize": False}, {"size": 8}):
        how = Processing.of({"image_processor_type": "SiglipImageProcessor", **keys})
        with pytest.raises(UsageError, match="leave pictures in several sizes: 8 x 9 and 9 x 8 pixels"):
            pixels_of(images, how)


@pytest.mark.parametrize("size", [(3, 40), (28, 30), (30, 28)])
def test_a_picture_of_no_whole_squares_of_patches_is_refused(size: tuple[int, int]) -> None:
    how = Processing.of({"image_processor_type": "Qwen2VLImageProcessor", "do_resize": False})
    with pytest.raises(UsageError, match=f"{size[1]} x {size[0]} pixels, which do_resize=false leaves as it is"):
        patches_of([Image.new("RGB", size)], how)
    patches, grid = patches_of([Image.new("RGB", (28, 56))], how)
    assert (grid.tolist(), len(patches)) == ([[1, 4, 2]], 8)


def test_a_line_is_not_made_a_picture_of_gigabytes() -> None:
    """The shorter side becomes 224 pixels, the longer as many times as many."""
    how = Processing.of({"image_processor_type": "CLIPImageProcessor"})
    with pytest.raises(UsageError, match="2 x 60000 pixels is too long and narrow"):
        pixels_of([Image.new("RGB", (60_000, 2))], how)
    assert torch.isfinite(pixels_of([Image.new("RGB", (600, 2))], how)).all()
