"""Pictures from files, and resizing and cutting them, as Pillow does it."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.errors import CheckpointError, MissingExtra, UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

# What Pillow's readers raise for damaged files; NotImplementedError, for kinds unknown to them, is a RuntimeError.
BROKEN = (OSError, ValueError, SyntaxError, RuntimeError, struct.error, EOFError, KeyError, IndexError, TypeError)
DEEP = 257  # that 16 bits are divided by to be 8: white stays white


def pillow() -> Any:
    """The module PIL.Image. Raises MissingExtra where Pillow is not installed."""
    try:
        from PIL import Image
    except ImportError:
        raise MissingExtra("pillow", "vision", "reading images") from None
    return Image


def read_image(path: str | Path) -> Image:
    """The picture in a file, upright as its camera says. Raises CheckpointError for what is no picture."""
    module = pillow()
    from PIL import ImageOps

    try:
        with module.open(path) as file:
            file.load()
            return ImageOps.exif_transpose(file)
    except (*BROKEN, module.DecompressionBombError) as error:
        raise CheckpointError(path, "", f"it cannot be read as a picture: {error}") from None


def on_white(image: Image) -> Image:
    """The picture in three colours, what is transparent being white.

    Raises UsageError for pictures of 32-bit numbers, which do not say which of them is white, and of colours that
    Pillow cannot turn to red, green and blue.
    """
    image = _shallow(image)
    has_alpha = "A" in image.getbands() or image.info.get("transparency") is not None
    try:
        image = image.convert("RGBA" if has_alpha else "RGB")
    except ValueError:
        raise _unread(f"colours {image.mode}") from None
    if not has_alpha:
        return image
    return pillow().alpha_composite(pillow().new("RGBA", image.size, (255, 255, 255, 255)), image).convert("RGB")


def _shallow(image: Image) -> Image:
    """The picture in 8 bits a number: Pillow, of 16, takes all from 255 on for white."""
    if image.mode in ("I", "F"):
        raise _unread("32-bit numbers")
    if not image.mode.startswith("I;16"):
        return image
    deep = np.asarray(image).astype(np.int64)
    grey = pillow().fromarray(((deep + DEEP // 2) // DEEP).astype(np.uint8))
    if (clear := image.info.get("transparency")) is not None:
        grey.putalpha(pillow().fromarray(np.where(deep == clear, 0, 255).astype(np.uint8)))
    return grey


def _unread(what: str) -> UsageError:
    return UsageError(f"a picture of {what} is not read", hint="save it in 8 bits a colour: grey, RGB or CMYK")


def centre(image: Image, height: int, width: int) -> Image:
    """The middle of a picture, with black around it where it is smaller."""
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))
