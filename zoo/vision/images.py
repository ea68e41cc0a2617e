"""Pictures from files, and resizing and cutting them, as Pillow does it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import CheckpointError, MissingExtra

if TYPE_CHECKING:
    from PIL.Image import Image


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
    except (OSError, ValueError, SyntaxError, module.DecompressionBombError) as error:
        raise CheckpointError(path, "", f"it cannot be read as a picture: {error}") from None


def on_white(image: Image) -> Image:
    """The picture in three colours, what is transparent being white."""
    if "A" not in image.getbands() and image.info.get("transparency") is None:
        return image.convert("RGB")
    image = image.convert("RGBA")
    return pillow().alpha_composite(pillow().new("RGBA", image.size, (255, 255, 255, 255)), image).convert("RGB")


def centre(image: Image, height: int, width: int) -> Image:
    """The middle of a picture, with black around it where it is smaller."""
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))
